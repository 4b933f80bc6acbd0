/** One dialog for all the fields of the screen, each of which may ask for a node. */
import { inject, provide, shallowRef, type InjectionKey } from "vue";
import type { ProjectNode } from "@/composables/useNodes";

export interface Wish {
  title: string;
  take: (node: ProjectNode) => void;
}

const ASK: InjectionKey<(wish: Wish) => void> = Symbol("picking a node");

export function providePicking() {
  const wish = shallowRef<Wish | null>(null);
  provide(ASK, (wanted) => (wish.value = wanted));
  return wish;
}

export function usePicking() {
  const ask = inject(ASK);
  if (!ask) throw new Error("No node can be picked here.");
  return ask;
}
