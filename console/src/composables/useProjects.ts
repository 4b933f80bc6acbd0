/** Projects that the viewer sees. */
import { useQuery } from "@urql/vue";
import { computed, type Ref } from "vue";
import { act } from "@/api/acting";
import { ProjectCreateDocument, ProjectsDocument, type ProjectCreateInput } from "@/graphql/operations";
import { useFurther } from "./useFurther";

const PAGE = 60;

/** Those whose name has the words in it. */
export function useProjects(search: Ref<string>) {
  const asked = computed(() => ({ first: PAGE, search: search.value || null }));
  const { data, error, fetching, executeQuery } = useQuery({
    query: ProjectsDocument,
    variables: asked,
    requestPolicy: "cache-and-network",
  });
  const { rows, ...further } = useFurther(
    ProjectsDocument,
    () => asked.value,
    () => data.value?.projects,
    ({ projects }) => projects,
  );
  return {
    projects: rows,
    total: computed(() => data.value?.projects.totalCount ?? 0),
    isLoading: computed(() => fetching.value && !data.value),
    ...further,
    error: computed(() => (data.value ? undefined : error.value)),
    reload: () => void executeQuery({ requestPolicy: "network-only" }),
  };
}

export function createProject(input: ProjectCreateInput) {
  return act(ProjectCreateDocument, { input });
}
