/** Who belongs to a project, in which roles. */
import { computed } from "vue";
import { act } from "@/api/acting";
import { MembersDocument, MemberSetRolesDocument, ProjectChangesDocument, type MembersQuery } from "@/graphql/operations";
import { useLivePages } from "./useLivePages";

type Shown = NonNullable<MembersQuery["project"]>;
export type Member = NonNullable<Shown["members"]>["nodes"][number];
export type Role = Shown["roles"][number];

const PAGE = 50;

export function useMembers(projectId: string) {
  const { data, rows, ...rest } = useLivePages(
    MembersDocument,
    { projectId, first: PAGE },
    { of: ProjectChangesDocument, on: { projectId } },
    ({ project }) => project?.members,
  );
  return {
    members: rows,
    total: computed(() => data.value?.project?.members?.totalCount ?? 0),
    roles: computed(() => data.value?.project?.roles ?? []),
    ...rest,
  };
}

export function addMember(projectId: string, email: string, roleIds: string[]) {
  return act(MemberSetRolesDocument, { input: { projectId, user: { email }, roleIds } });
}

/** An empty list takes the member off the project. */
export function setRoles(projectId: string, member: Member, roleIds: string[]) {
  return act(MemberSetRolesDocument, { input: { projectId, user: { userId: member.user.id }, roleIds } });
}
