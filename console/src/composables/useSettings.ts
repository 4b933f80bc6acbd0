/** What a project is, with its route rules, for those who may change them. */
import { computed } from "vue";
import { act } from "@/api/acting";
import { inOrder } from "@/api/versions";
import {
  ProjectChangesDocument,
  ProjectDeleteDocument,
  ProjectSetRouteRulesDocument,
  ProjectSettingsDocument,
  ProjectUpdateDocument,
  type ProjectSettingsQuery,
  type ProjectUpdateInput,
  type RouteRuleInput,
} from "@/graphql/operations";
import { useLive } from "./useLive";

export type Settings = NonNullable<ProjectSettingsQuery["project"]>;
export type RouteRule = RouteRuleInput;

const SHOWN = new Set(["Project", "Role"]);

export function useSettings(projectId: string) {
  const { data, ...rest } = useLive(
    ProjectSettingsDocument,
    { projectId },
    {
      of: ProjectChangesDocument,
      on: { projectId },
      concerning: ({ projectEvents: { object } }) => object === null || SHOWN.has(object.__typename),
    },
  );
  return { settings: computed(() => data.value?.project ?? null), ...rest };
}

/** Refused where somebody else changed the project since `version`. */
export function updateProject(
  project: Settings,
  changes: Omit<ProjectUpdateInput, "projectId" | "expectedVersion">,
  version = project.version,
) {
  return inOrder(
    project.id,
    version,
    (expectedVersion) => act(ProjectUpdateDocument, { input: { projectId: project.id, expectedVersion, ...changes } }),
    (payload) => payload.project?.version,
  );
}

/** Puts these rules in the place of all that stand; refused where somebody else changed the project since `version`. */
export function setRules(project: Settings, rules: RouteRule[], version = project.version) {
  return inOrder(
    project.id,
    version,
    (expectedVersion) => act(ProjectSetRouteRulesDocument, { input: { projectId: project.id, expectedVersion, rules } }),
    (payload) => payload.project?.version,
  );
}

export function deleteProject(projectId: string) {
  return act(ProjectDeleteDocument, { input: { projectId } });
}
