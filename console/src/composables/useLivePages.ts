/** A list of which any number of pages are shown, all of which stay true. */
import type { TypedDocumentNode } from "@urql/vue";
import { computed, toValue, type MaybeRefOrGetter } from "vue";
import { useFurther, type Page } from "./useFurther";
import { useLive, type Watch } from "./useLive";

type Variables = Record<string, unknown>;

/** `pageIn` finds the list in what the query answers; more is of the first page, `rows` of all that are shown. */
export function useLivePages<
  Data extends { eventCursor: string | null },
  Asked extends Variables,
  Event,
  Watched extends Variables,
  Row extends { id: string },
>(
  query: TypedDocumentNode<Data, Asked>,
  variables: MaybeRefOrGetter<Asked>,
  events: Watch<Event, Watched>,
  pageIn: (data: Data) => Page<Row> | null | undefined,
) {
  const asked = computed(() => toValue(variables));
  const live = useLive(query, asked, events, reread);
  const further = useFurther(query, () => asked.value, () => live.data.value && pageIn(live.data.value), pageIn);

  function reread(): Promise<void> {
    return further.reread();
  }

  const { rows, hasMore, isReading, more } = further;
  return { ...live, rows, hasMore, isReading, more };
}
