/** What somebody types over a value, until it is saved, taken back or refused. */
import { computed, nextTick, ref, watch } from "vue";

/** Saves a text that was typed over the value of a version. The refusal, or null. */
export type Save = (text: string, version: number) => Promise<string | null>;

/**
 * A value that changes elsewhere shows at once while nobody types over it. While somebody does, their text stays, and
 * `elsewhere` holds the other's; it is then saved as what it is, a change of an earlier version, and after the refusal, with
 * the other's still beside it, as one of the present.
 */
export function useDraft(present: () => string, version: () => number, save: Save) {
  const text = ref(present());
  const base = ref({ value: present(), version: version() });
  const origin = ref(present());
  const saving = ref<string | null>(null);
  const refusal = ref<string | null>(null);
  const isDirty = computed(() => text.value !== base.value.value);
  const elsewhere = computed(() => {
    const isOther = isDirty.value && saving.value === null && present() !== origin.value;
    return isOther ? present() : null;
  });

  watch([present, version], ([now]) => {
    if (saving.value !== null) return;
    if (now === base.value.value) rest();
    else if (!isDirty.value || now === text.value) take();
  });

  /** What is typed is now over the present value. */
  function rest(): void {
    base.value = { value: present(), version: version() };
  }

  function take(): void {
    rest();
    origin.value = text.value = present();
    refusal.value = null;
  }

  async function commit(): Promise<void> {
    if (!isDirty.value || saving.value === text.value) return;
    const sent = (saving.value = text.value);
    const refused = await save(sent, base.value.version);
    await nextTick(); // the present value is the gateway's now, whatever it made of what was sent
    saving.value = null;
    refusal.value = refused;
    if (refused === null && text.value === sent) take();
    else rest();
  }

  return { text, isDirty, elsewhere, refusal, commit, revert: take };
}
