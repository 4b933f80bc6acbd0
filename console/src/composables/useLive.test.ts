import { describe, expect, it } from "vitest";
import { coalesced } from "./useLive";

describe("coalesced", () => {
  it("does it once more for all that was asked meanwhile, and not after it was stopped", async () => {
    const ends: (() => void)[] = [];
    const act = coalesced(() => new Promise<void>((resolve) => ends.push(resolve)));
    const settle = async (): Promise<void> => {
      ends.at(-1)?.();
      await new Promise((resolve) => setTimeout(resolve));
    };
    act();
    act();
    act();
    expect(ends).toHaveLength(1);
    await settle();
    expect(ends).toHaveLength(2);
    await settle();
    expect(ends).toHaveLength(2);
    act();
    act();
    act.stop();
    await settle();
    expect(ends).toHaveLength(3);
  });
});
