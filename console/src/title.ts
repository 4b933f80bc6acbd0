/** What the page is called, in its tab and to a screen reader. */
import { onUnmounted, ref, watchEffect } from "vue";

export const title = ref("");

export function useTitle(of: () => string | undefined): void {
  watchEffect(() => (title.value = of() ?? ""));
  onUnmounted(() => (title.value = ""));
}
