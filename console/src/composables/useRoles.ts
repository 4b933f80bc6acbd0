/** A project's roles. */
import { computed } from "vue";
import { act } from "@/api/acting";
import { inOrder } from "@/api/versions";
import {
  ProjectChangesDocument,
  RoleCreateDocument,
  RoleDeleteDocument,
  RolesDocument,
  RoleUpdateDocument,
  type Permission,
  type RoleCreateInput,
  type RolesQuery,
  type RoleUpdateInput,
} from "@/graphql/operations";
import { useLive } from "./useLive";

type Shown = NonNullable<RolesQuery["project"]>;
export type Role = Shown["roles"][number];

export const PERMISSIONS: readonly Permission[] = [
  "PROJECT_VIEW",
  "PROJECT_EDIT",
  "PROJECT_MANAGE",
  "KEYS_VIEW",
  "GRAPH_VIEW",
  "GRAPH_EDIT",
  "CODE_VIEW",
  "CODE_EDIT",
  "INTERFACE_MANAGE",
  "PACKAGE_VIEW",
  "PACKAGE_CREATE",
  "PACKAGE_DELETE",
];
export const ON_NODES: readonly Permission[] = ["CODE_VIEW", "CODE_EDIT", "PACKAGE_VIEW", "PACKAGE_CREATE", "PACKAGE_DELETE"];
const PUBLIC: readonly Permission[] = ["PROJECT_VIEW", "GRAPH_VIEW", "CODE_VIEW", "PACKAGE_VIEW"];

/** Whether a role may hold it: what everybody holds is for looking alone. */
export function mayHold(permission: Permission, isPublic: boolean): boolean {
  return !isPublic || PUBLIC.includes(permission);
}

/** The owner role stays as it is; its name is taken for good, so it is known by that. */
export function isOwner(role: Role): boolean {
  return role.name === "owner";
}

export function useRoles(projectId: string) {
  const { data, ...rest } = useLive(RolesDocument, { projectId }, { of: ProjectChangesDocument, on: { projectId } });
  return {
    roles: computed(() => data.value?.project?.roles ?? []),
    ...rest,
  };
}

export function createRole(input: RoleCreateInput) {
  return act(RoleCreateDocument, { input });
}

/** Refused where somebody else changed the role since `version`. */
export function updateRole(role: Role, changes: Omit<RoleUpdateInput, "roleId">, version = role.version) {
  return inOrder(
    role.id,
    version,
    (expectedVersion) => act(RoleUpdateDocument, { input: { roleId: role.id, expectedVersion, ...changes } }),
    (payload) => payload.role?.version,
  );
}

export function deleteRole(role: Role) {
  return act(RoleDeleteDocument, { input: { roleId: role.id } });
}
