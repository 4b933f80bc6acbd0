import { describe, expect, it } from "vitest";
import { effectScope, nextTick, ref } from "vue";
import { useDraft } from "./useDraft";

/** A value that somebody else may change, and what is saved over it. */
function draftOf(answer: (text: string, version: number) => string | null) {
  const present = ref("Gold");
  const version = ref(1);
  const saved: [string, number][] = [];
  const draft = effectScope().run(() =>
    useDraft(
      () => present.value,
      () => version.value,
      async (text, of) => {
        saved.push([text, of]);
        const refusal = answer(text, of);
        if (refusal === null) {
          present.value = text.trim();
          version.value += 1;
        }
        return refusal;
      },
    ),
  );
  if (!draft) throw new Error("no draft");
  const changeElsewhere = async (value: string): Promise<void> => {
    present.value = value;
    version.value += 1;
    await nextTick();
  };
  return { draft, saved, changeElsewhere, version };
}

describe("useDraft", () => {
  it("follows the value while nobody types", async () => {
    const { draft, changeElsewhere } = draftOf(() => null);
    await changeElsewhere("Silver");
    expect(draft.text.value).toBe("Silver");
    expect(draft.elsewhere.value).toBeNull();
  });

  it("saves what was typed once, and shows what became of it", async () => {
    const { draft, saved } = draftOf(() => null);
    draft.text.value = " Silver ";
    await Promise.all([draft.commit(), draft.commit()]);
    expect(saved).toEqual([[" Silver ", 1]]);
    expect(draft.text.value).toBe("Silver");
    expect(draft.isDirty.value).toBe(false);
  });

  it("keeps what was typed when it is refused, and gives it up when told to", async () => {
    const { draft } = draftOf(() => "That name is taken.");
    draft.text.value = "Silver";
    await draft.commit();
    expect([draft.text.value, draft.refusal.value]).toEqual(["Silver", "That name is taken."]);
    draft.revert();
    expect([draft.text.value, draft.refusal.value]).toEqual(["Gold", null]);
  });

  it("keeps what is being typed when the value changes elsewhere, tells so, and saves it over the new value only knowingly", async () => {
    const { draft, saved, changeElsewhere, version } = draftOf((_, of) => (of === version.value ? null : "It was changed."));
    draft.text.value = "Silver";
    await changeElsewhere("Bronze");
    expect([draft.text.value, draft.elsewhere.value]).toEqual(["Silver", "Bronze"]);
    await draft.commit();
    expect([draft.text.value, draft.refusal.value]).toEqual(["Silver", "It was changed."]);
    expect(draft.elsewhere.value).toBe("Bronze");
    await draft.commit();
    expect(draft.elsewhere.value).toBeNull();
    expect(saved).toEqual([
      ["Silver", 1],
      ["Silver", 2],
    ]);
    expect([draft.text.value, draft.refusal.value]).toEqual(["Silver", null]);
  });

  it("is of the newest version while only other parts change", async () => {
    const { draft, saved, version } = draftOf(() => null);
    draft.text.value = "Silver";
    version.value = 7;
    await nextTick();
    await draft.commit();
    expect(saved).toEqual([["Silver", 7]]);
  });
});
