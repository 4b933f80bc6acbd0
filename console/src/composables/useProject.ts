/** The project whose screens are shown. */
import { useQuery } from "@urql/vue";
import { computed, inject, provide, type ComputedRef, type InjectionKey } from "vue";
import { ProjectDocument, type Permission, type ProjectQuery } from "@/graphql/operations";
import { useTitle } from "@/title";

type Project = NonNullable<ProjectQuery["project"]>;

interface Shown {
  project: ComputedRef<Project | null>;
  /** What the viewer may do on it. */
  permissions: ComputedRef<ReadonlySet<Permission>>;
}

const SHOWN: InjectionKey<Shown> = Symbol("project");

export function provideProject(projectId: string) {
  const { data, error, fetching, executeQuery } = useQuery({
    query: ProjectDocument,
    variables: { projectId },
    requestPolicy: "cache-and-network",
  });
  const project = computed(() => data.value?.project ?? null);
  const permissions = computed(() => new Set(project.value?.viewerPermissions));
  provide(SHOWN, { project, permissions });
  useTitle(() => project.value?.name);
  return {
    project,
    permissions,
    isAbsent: computed(() => !fetching.value && data.value?.project === null),
    error: computed(() => (data.value ? undefined : error.value)),
    reload: () => void executeQuery({ requestPolicy: "network-only" }),
  };
}

export function useProject(): Shown {
  const shown = inject(SHOWN);
  if (!shown) throw new Error("This is no screen of a project.");
  return shown;
}
