/** Who belongs to a project, in which roles. */
import { computed, ref } from "vue";
import { act } from "@/api/acting";
import { MembersDocument, MemberSetRolesDocument, ProjectChangesDocument, type MembersQuery } from "@/graphql/operations";
import { useLive } from "./useLive";

type Shown = NonNullable<MembersQuery["project"]>;
export type Member = NonNullable<Shown["members"]>["nodes"][number];
export type Role = Shown["roles"][number];

const PAGE = 50;
const MOST = 100;

export function useMembers(projectId: string) {
  const first = ref(PAGE);
  const { data, ...rest } = useLive(
    MembersDocument,
    () => ({ projectId, first: first.value }),
    { of: ProjectChangesDocument, on: { projectId } },
  );
  const shown = computed(() => data.value?.project?.members);
  return {
    members: computed(() => shown.value?.nodes ?? []),
    total: computed(() => shown.value?.totalCount ?? 0),
    roles: computed(() => data.value?.project?.roles ?? []),
    hasMore: computed(() => Boolean(shown.value?.pageInfo.hasNextPage) && first.value < MOST),
    more: () => (first.value = MOST),
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
