/** A project's nodes, by pages. */
import { computed, type Ref } from "vue";
import { act } from "@/api/acting";
import { inOrder } from "@/api/versions";
import {
  ProjectChangesDocument,
  ProjectNodeCreateDocument,
  ProjectNodeDeleteDocument,
  ProjectNodesDocument,
  ProjectNodeUpdateDocument,
  type ProjectNodeCreateInput,
  type ProjectNodesQuery,
} from "@/graphql/operations";
import { useLivePages } from "./useLivePages";

export type ProjectNode = NonNullable<ProjectNodesQuery["project"]>["projectNodes"]["nodes"][number];

/** What of a project's nodes is shown, and the way to more of them. */
export type Nodes = ReturnType<typeof useNodes>;

const PAGE = 50;

/** Those whose name has the words in it. */
export function useNodes(projectId: string, search: Ref<string>) {
  const { data, rows, ...rest } = useLivePages(
    ProjectNodesDocument,
    () => ({ projectId, first: PAGE, search: search.value || null }),
    {
      of: ProjectChangesDocument,
      on: { projectId },
      concerning: ({ projectEvents: { object } }) => object === null || object.__typename === "ProjectNode",
    },
    ({ project }) => project?.projectNodes,
  );
  return { nodes: rows, total: computed(() => data.value?.project?.projectNodes.totalCount ?? 0), ...rest };
}

export function createNode(input: ProjectNodeCreateInput) {
  return act(ProjectNodeCreateDocument, { input });
}

/** Refused where somebody else renamed the node since `version`. */
export function renameNode(node: ProjectNode, name: string, version: number) {
  return inOrder(
    node.id,
    version,
    (expectedVersion) => act(ProjectNodeUpdateDocument, { input: { projectNodeId: node.id, expectedVersion, name } }),
    (payload) => payload.projectNode?.version,
  );
}

export function deleteNode(node: ProjectNode) {
  return act(ProjectNodeDeleteDocument, { input: { projectNodeId: node.id } });
}
