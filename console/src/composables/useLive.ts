/** A query that stays true: it is read again when the gateway tells of an event. */
import { useQuery, useSubscription, type TypedDocumentNode } from "@urql/vue";
import { computed, onUnmounted, ref, toValue, watch, type MaybeRefOrGetter } from "vue";
import { client } from "@/api/client";

type Variables = Record<string, unknown>;

export interface Watch<Event, Watched> {
  of: TypedDocumentNode<Event, Watched>;
  on?: Watched;
  /** Whether an event changes what the query shows; all do, unless this is given. */
  concerning?: (event: Event) => boolean;
}

/**
 * Its data holds everything up to `eventCursor`, behind which the subscription begins: nothing falls between the two.
 * `further` is read after it, each time that it is read again.
 */
export function useLive<Data extends { eventCursor: string | null }, Asked extends Variables, Event, Watched extends Variables>(
  query: TypedDocumentNode<Data, Asked>,
  variables: MaybeRefOrGetter<Asked>,
  events: Watch<Event, Watched>,
  further?: () => Promise<unknown>,
) {
  const asked = computed(() => toValue(variables));
  const { data, error, fetching, executeQuery } = useQuery<Data, Variables>({
    query: query as unknown as TypedDocumentNode<Data, Variables>,
    variables: asked,
    requestPolicy: "cache-and-network",
  });
  const read = coalesced(async () => {
    await client.value.query(query, asked.value, { requestPolicy: "network-only" }).toPromise();
    await further?.();
  });
  const after = ref<string | null>(null);
  watch(data, (now) => (after.value ??= now?.eventCursor ?? null), { immediate: true });
  useSubscription<Event, null, Variables>(
    {
      query: events.of as unknown as TypedDocumentNode<Event, Variables>,
      variables: computed(() => ({ ...events.on, after: after.value })),
      pause: computed(() => after.value === null),
    },
    (_, event) => {
      if (events.concerning?.(event) ?? true) read();
      return null;
    },
  );
  onUnmounted(read.stop);
  return {
    data,
    isLoading: computed(() => fetching.value && !data.value),
    /** Whether the data is still of what was asked for before. */
    isBehind: computed(() => fetching.value && Boolean(data.value)),
    error: computed(() => (data.value ? undefined : error.value)),
    read,
    reload: () => void executeQuery({ requestPolicy: "network-only" }),
  };
}

/** Does it once for all the times that it is called for while it is being done. */
export function coalesced(act: () => Promise<unknown>): { (): void; stop: () => void } {
  let isUnderWay = false;
  let isWanted = false;
  let isStopped = false;
  const wanted = async (): Promise<void> => {
    isWanted = true;
    if (isUnderWay) return;
    isUnderWay = true;
    while (isWanted && !isStopped) {
      isWanted = false;
      await act();
    }
    isUnderWay = false;
  };
  return Object.assign(() => void wanted(), { stop: () => (isStopped = true) });
}
