/** Who did or read what on a project, the newest first. */
import { computed } from "vue";
import { AuditLogDocument, ProjectChangesDocument, type AuditLogQuery, type PeriodInput } from "@/graphql/operations";
import { useLivePages } from "./useLivePages";

export type Entry = NonNullable<NonNullable<AuditLogQuery["project"]>["auditEntries"]>["nodes"][number];

export interface Person {
  id: string;
  name: string;
}

/** Which entries; what is null is every one. */
export interface Wanted {
  userId: string | null;
  action: string | null;
  objectId: string | null;
  period: PeriodInput | null;
}

const PAGE = 50;

export function useAuditLog(projectId: string, wanted: Wanted) {
  const { data, rows, ...rest } = useLivePages(
    AuditLogDocument,
    { projectId, first: PAGE, ...wanted },
    { of: ProjectChangesDocument, on: { projectId } },
    ({ project }) => project?.auditEntries,
  );
  return {
    entries: rows,
    people: computed(() => peopleOf(data.value?.project?.members?.nodes ?? [], rows.value)),
    ...rest,
  };
}

/** Those who belong to the project, and those who did something on it. */
function peopleOf(members: { user: Person }[], entries: Entry[]): Person[] {
  const all = [...members.map(({ user }) => user), ...entries.flatMap(({ user }) => user ?? [])];
  return [...new Map(all.map(({ id, name }) => [id, { id, name }])).values()];
}
