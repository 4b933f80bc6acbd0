import { describe, expect, it } from "vitest";
import type { Outcome } from "./acting";
import { inOrder } from "./versions";

/** A gateway that takes a change only of its present version. */
function gatewayOf(version: number) {
  const at = { version };
  const send = async (expected: number): Promise<Outcome<number>> => {
    await new Promise((resolve) => setTimeout(resolve));
    if (expected !== at.version) return { payload: null, refusal: "It was changed." };
    return { payload: ++at.version, refusal: null };
  };
  return { at, send };
}

describe("inOrder", () => {
  it("sends changes that were begun at once one after the other, each of the version that the one before made", async () => {
    const { at, send } = gatewayOf(3);
    const outcomes = await Promise.all([1, 2, 3].map(() => inOrder("tpl_a", 3, send, (version) => version)));
    expect(outcomes.map((each) => each.refusal)).toEqual([null, null, null]);
    expect(at.version).toBe(6);
  });

  it("has another's change between two of ours refused", async () => {
    const { at, send } = gatewayOf(1);
    await inOrder("tpl_b", 1, send, (version) => version);
    at.version += 1;
    expect((await inOrder("tpl_b", 1, send, (version) => version)).refusal).toBe("It was changed.");
    expect((await inOrder("tpl_b", 3, send, (version) => version)).refusal).toBeNull();
  });

  it("goes on after a change that was refused", async () => {
    const { send } = gatewayOf(5);
    const [refused, taken] = await Promise.all([4, 5].map((version) => inOrder("tpl_c", version, send, (made) => made)));
    expect([refused?.refusal, taken?.refusal]).toEqual(["It was changed.", null]);
  });
});
