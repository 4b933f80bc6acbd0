/** The present, as far as a page shows it: "today" becomes "yesterday" while it is open. */
import { onUnmounted, readonly, ref } from "vue";

const MINUTE_MS = 60_000;

export function useNow() {
  const now = ref(new Date());
  const timer = setInterval(() => (now.value = new Date()), MINUTE_MS);
  onUnmounted(() => clearInterval(timer));
  return readonly(now);
}
