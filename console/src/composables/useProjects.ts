/** Projects that the viewer sees. */
import { useQuery } from "@urql/vue";
import { computed, ref, watch, type Ref } from "vue";
import { act } from "@/api/acting";
import { ProjectCreateDocument, ProjectsDocument, type ProjectCreateInput } from "@/graphql/operations";

const PAGE = 30;
const MOST = 100;

/** Those whose name has the words in it; more of them when asked for. */
export function useProjects(search: Ref<string>) {
  const first = ref(PAGE);
  watch(search, () => (first.value = PAGE));
  const { data, error, fetching, executeQuery } = useQuery({
    query: ProjectsDocument,
    variables: computed(() => ({ first: first.value, search: search.value || null })),
    requestPolicy: "cache-and-network",
  });
  return {
    projects: computed(() => data.value?.projects.nodes ?? []),
    total: computed(() => data.value?.projects.totalCount ?? 0),
    isLoading: computed(() => fetching.value && !data.value),
    hasMore: computed(() => Boolean(data.value?.projects.pageInfo.hasNextPage) && first.value < MOST),
    more: () => (first.value = MOST),
    error: computed(() => (data.value ? undefined : error.value)),
    reload: () => void executeQuery({ requestPolicy: "network-only" }),
  };
}

export function createProject(input: ProjectCreateInput) {
  return act(ProjectCreateDocument, { input });
}
