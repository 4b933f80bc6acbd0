/** What is said in passing: that something was done, or why not. */
import { readonly, ref } from "vue";

export interface Toast {
  id: number;
  text: string;
  isRefusal: boolean;
  undo?: () => void;
}

const shown = ref<Toast[]>([]);
let latest = 0;

export const toasts = readonly(shown);

export function tell(text: string, undo?: () => void): void {
  shown.value.push({ id: ++latest, text, isRefusal: false, undo });
}

/** Says why something was not done, in the gateway's own sentence. */
export function tellRefusal(text: string): void {
  shown.value.push({ id: ++latest, text, isRefusal: true });
}

export function dismiss(id: number): void {
  shown.value = shown.value.filter((toast) => toast.id !== id);
}
