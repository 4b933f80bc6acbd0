/** A project's issued keys, with what was called with them in a period. */
import { useQuery } from "@urql/vue";
import { computed, ref, watch, type Ref } from "vue";
import { act } from "@/api/acting";
import { asked, stepsOf, timeZone, type Period } from "@/format/periods";
import {
  IssuedKeysDocument,
  KeyResumeDocument,
  KeyRevokeDocument,
  KeySuspendDocument,
  ProjectChangesDocument,
  UsageSeriesDocument,
  type IssuedKeyOrderField,
  type IssuedKeysQuery,
  type KeyState,
  type OrderDirection,
  type UsageSeriesQuery,
} from "@/graphql/operations";
import { useLive } from "./useLive";

type Table = NonNullable<NonNullable<IssuedKeysQuery["project"]>["issuedKeys"]>;
export type Key = Table["nodes"][number];
export type Report = NonNullable<NonNullable<UsageSeriesQuery["project"]>["usage"]>;
export type Step = Report["series"][number];

export interface Order {
  field: IssuedKeyOrderField;
  direction: OrderDirection;
}

/** What of the table is shown. */
export interface View {
  period: Ref<Period>;
  search: Ref<string>;
  states: Ref<KeyState[] | null>;
  order: Ref<Order>;
  rows: Ref<number>;
}

export function useIssuedKeys(projectId: string, { period, search, states, order, rows }: View) {
  const now = ref(new Date());
  const cursors = ref<string[]>([]);
  watch([period, search, states, order, rows], () => (cursors.value = []));
  const { data, isBehind, ...rest } = useLive(
    IssuedKeysDocument,
    () => ({
      projectId,
      period: asked(period.value, now.value),
      first: rows.value,
      after: cursors.value.at(-1) ?? null,
      search: search.value || null,
      states: states.value,
      orderBy: order.value,
    }),
    { of: ProjectChangesDocument, on: { projectId }, concerning: ({ projectEvents: { object } }) => isOfKey(object) },
  );
  const table = computed(() => data.value?.project?.issuedKeys ?? null);
  const last = ref<Table | null>(null);
  watch(table, (shown) => (last.value = shown ?? last.value), { immediate: true }); // it stays while the next is read
  return {
    ...rest,
    now,
    keys: computed(() => (table.value ?? last.value)?.nodes ?? []),
    total: computed(() => (table.value ?? last.value)?.totalCount ?? 0),
    isFirstLoading: computed(() => !table.value && !last.value),
    isTurning: isBehind,
    start: computed(() => cursors.value.length * rows.value),
    hasPrevious: computed(() => cursors.value.length > 0),
    hasNext: computed(() => !isBehind.value && Boolean(table.value?.pageInfo.hasNextPage)),
    previous: () => (cursors.value = cursors.value.slice(0, -1)),
    next: () => {
      const cursor = table.value?.pageInfo.endCursor;
      if (cursor && !isBehind.value) cursors.value = [...cursors.value, cursor];
    },
  };
}

function isOfKey(object: { __typename?: string } | null): boolean {
  return object === null || object.__typename === "IssuedKey" || object.__typename === "KeyTemplate";
}

/** Requests and cost of the whole project, step by step. */
export function useUsage(projectId: string, period: Ref<Period>, now: Ref<Date>) {
  const { data, error, executeQuery } = useQuery({
    query: UsageSeriesDocument,
    variables: computed(() => ({
      projectId,
      period: asked(period.value, now.value),
      granularity: stepsOf(period.value),
      timeZone,
    })),
    requestPolicy: "cache-and-network",
  });
  return {
    report: computed(() => data.value?.project?.usage ?? null),
    error: computed(() => (data.value ? undefined : error.value)),
    reload: () => void executeQuery({ requestPolicy: "network-only" }),
  };
}

export function revoke(key: Key) {
  return act(KeyRevokeDocument, { input: { keyId: key.id } });
}

export function suspend(key: Key) {
  return act(KeySuspendDocument, { input: { keyId: key.id } });
}

export function resume(key: Key) {
  return act(KeyResumeDocument, { input: { keyId: key.id } });
}
