/** The pages of a list behind its first, which are read when they are asked for. */
import type { CombinedError, TypedDocumentNode } from "@urql/vue";
import { computed, onUnmounted, ref, shallowRef, watch, type ShallowRef } from "vue";
import { sentenceOf } from "@/api/acting";
import { client } from "@/api/client";
import { i18n } from "@/i18n";
import { tellRefusal } from "@/toasts";

export interface Page<Row> {
  nodes: Row[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

interface Read<Data> {
  data: ShallowRef<Data | undefined>;
  error: CombinedError | undefined;
  stop: () => void;
}

/** Further pages stay in step with the cache as the first does, and go when another list is asked for. */
export function useFurther<Data, Asked extends Record<string, unknown>, Row extends { id: string }>(
  query: TypedDocumentNode<Data, Asked>,
  asked: () => Asked,
  first: () => Page<Row> | null | undefined,
  pageOf: (data: Data) => Page<Row> | null | undefined,
) {
  const further = shallowRef<Read<Data>[]>([]);
  const isReading = ref(false);
  const pages = computed(() => [first(), ...further.value.map(pageIn)].filter((page) => page != null));
  const last = computed(() => pages.value.at(-1)?.pageInfo);
  let list = 0;

  watch(() => JSON.stringify(asked()), drop);
  onUnmounted(drop);

  function pageIn({ data }: Read<Data>) {
    return data.value && pageOf(data.value);
  }

  function drop(): void {
    list += 1;
    for (const page of further.value) page.stop();
    further.value = [];
  }

  /** What begins behind a row. It is followed from then on, until it is stopped. */
  function read(after: string): Promise<Read<Data>> {
    const data = shallowRef<Data>();
    return new Promise((resolve) => {
      const source = client.value.query(query, { ...asked(), after }, { requestPolicy: "network-only" });
      const { unsubscribe } = source.subscribe((result) => {
        data.value = result.data ?? data.value;
        resolve({ data, error: result.error, stop: () => unsubscribe() });
      });
    });
  }

  async function more(): Promise<void> {
    const after = last.value?.endCursor;
    if (!after || isReading.value) return;
    isReading.value = true;
    const reading = list;
    const page = await read(after);
    isReading.value = false;
    if (reading === list && page.data.value) further.value = [...further.value, page];
    else page.stop();
    if (page.error) tellRefusal(sentenceOf(page.error) ?? i18n.global.t("refused.unreachable"));
  }

  /** As many pages as are shown, each behind the present end of the one before it. */
  async function reread(): Promise<void> {
    const reading = list;
    const fresh: Read<Data>[] = [];
    let before = first()?.pageInfo;
    while (fresh.length < further.value.length && before?.hasNextPage && before.endCursor) {
      const page = await read(before.endCursor);
      fresh.push(page);
      before = pageIn(page)?.pageInfo;
    }
    const [gone, kept] = reading === list ? [further.value, fresh] : [fresh, further.value];
    further.value = kept;
    for (const page of gone) page.stop();
  }

  return {
    rows: computed(() => [...new Map(pages.value.flatMap(({ nodes }) => nodes).map((row) => [row.id, row])).values()]),
    hasMore: computed(() => last.value?.hasNextPage ?? false),
    isReading,
    more,
    reread,
  };
}
