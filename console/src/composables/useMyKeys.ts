/** The viewer's own keys and requests, over all projects. */
import { computed, type Ref } from "vue";
import { asked, type Period } from "@/format/periods";
import { MyKeyChangesDocument, MyKeysDocument, type KeyState, type MyKeysQuery } from "@/graphql/operations";
import { useLivePages } from "./useLivePages";

type Shown = NonNullable<MyKeysQuery["viewer"]>;
export type MyKey = Shown["keys"]["nodes"][number];
export type MyRequest = Shown["requests"]["nodes"][number];
export type Allowance = MyKey["allowances"][number];

const PAGE = 24;

export function useMyKeys(period: Ref<Period>, now: Ref<Date>, states: Ref<KeyState[] | null>) {
  const { data, rows, ...rest } = useLivePages(
    MyKeysDocument,
    () => ({ first: PAGE, period: asked(period.value, now.value), states: states.value }),
    { of: MyKeyChangesDocument },
    ({ viewer }) => viewer?.keys,
  );
  return {
    keys: rows,
    total: computed(() => data.value?.viewer?.keys.totalCount ?? 0),
    requests: computed(() => data.value?.viewer?.requests.nodes ?? []),
    ...rest,
  };
}
