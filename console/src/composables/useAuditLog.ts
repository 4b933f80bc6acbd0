/** Who did or read what on a project: the newest entries, which follow what happens, and older ones as they are asked for. */
import { computed, ref, shallowRef, watch } from "vue";
import { client } from "@/api/client";
import { AuditLogDocument, ProjectChangesDocument, type AuditLogQuery, type PeriodInput } from "@/graphql/operations";
import { useLive } from "./useLive";

type Shown = NonNullable<AuditLogQuery["project"]>;
type Page = NonNullable<Shown["auditEntries"]>;
export type Entry = Page["nodes"][number];

interface User {
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

/** The newest entries without a gap, and where those before them begin; null when these are all. */
export interface Known<Row> {
  entries: Row[];
  before: string | null;
}

interface Read<Row> {
  nodes: Row[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

const PAGE = 50;

export function useAuditLog(projectId: string, wanted: Wanted) {
  const asked = { projectId, first: PAGE, ...wanted };
  const { data, ...rest } = useLive(AuditLogDocument, asked, { of: ProjectChangesDocument, on: { projectId } });
  const known = shallowRef<Known<Entry>>({ entries: [], before: null });
  const isReadingOlder = ref(false);
  watch(
    () => data.value?.project?.auditEntries,
    (newest) => {
      if (newest) known.value = withNewest(known.value, newest);
    },
    { immediate: true },
  );

  async function older(): Promise<void> {
    const after = known.value.before;
    if (after === null || isReadingOlder.value) return;
    isReadingOlder.value = true;
    const answer = await client.value
      .query(AuditLogDocument, { ...asked, after }, { requestPolicy: "network-only" })
      .toPromise();
    const page = answer.data?.project?.auditEntries;
    if (page && known.value.before === after) known.value = withOlder(known.value, page);
    isReadingOlder.value = false;
  }

  return {
    entries: computed(() => known.value.entries),
    people: computed(() => peopleOf(data.value?.project?.members?.nodes ?? [], known.value.entries)),
    hasMore: computed(() => known.value.before !== null),
    isReadingOlder,
    older,
    ...rest,
  };
}

/** Those who belong to the project, and those who did something on it. */
function peopleOf(members: { user: User }[], entries: Entry[]): User[] {
  const all = [...members.map(({ user }) => user), ...entries.flatMap(({ user }) => user ?? [])];
  return [...new Map(all.map(({ id, name }) => [id, { id, name }])).values()];
}

/** What was read before goes on behind the newest page, unless more than a page came meanwhile. */
export function withNewest<Row extends { id: string }>(known: Known<Row>, newest: Read<Row>): Known<Row> {
  const last = newest.nodes.at(-1);
  const at = last ? known.entries.findIndex(({ id }) => id === last.id) : -1;
  if (at >= 0) return { entries: [...newest.nodes, ...known.entries.slice(at + 1)], before: known.before };
  return withOlder({ entries: [], before: null }, newest);
}

export function withOlder<Row>(known: Known<Row>, { nodes, pageInfo }: Read<Row>): Known<Row> {
  return { entries: [...known.entries, ...nodes], before: pageInfo.hasNextPage ? pageInfo.endCursor : null };
}
