import { ref, watch, type Ref } from "vue";

/** What is typed in a dialog, blank each time that it opens or closes, and the sentence that it was refused with. */
export function useForm<T extends object>(isOpen: Ref<boolean>, blank: () => T) {
  const form = ref(blank()) as Ref<T>;
  const refusal = ref<string | null>(null);
  watch(isOpen, () => {
    form.value = blank();
    refusal.value = null;
  });
  return { form, refusal };
}
