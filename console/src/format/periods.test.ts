import { describe, expect, it } from "vitest";
import { asked, inAddress, isWhole, stepsOf, timeZone } from "./periods";

const now = new Date(2026, 0, 31, 12);

describe("asked", () => {
  it("names months of the reader's calendar, also the one before January", () => {
    expect(asked({ kind: "thisMonth" }, now)).toEqual({ month: { month: "2026-01", timeZone } });
    expect(asked({ kind: "lastMonth" }, now)).toEqual({ month: { month: "2025-12", timeZone } });
    expect(asked({ kind: "lastMonth" }, new Date(2026, 2, 31))).toEqual({ month: { month: "2026-02", timeZone } });
  });

  it("has the last day of a range in it, from midnight to midnight", () => {
    expect(asked({ kind: "between", first: "2026-03-01", last: "2026-03-31" }, now)).toEqual({
      between: { from: new Date(2026, 2, 1).toISOString(), to: new Date(2026, 3, 1).toISOString() },
    });
  });
});

describe("inAddress", () => {
  it("says the same where an address is needed", () => {
    expect(inAddress({ kind: "lastDays", days: 7 }, now).get("lastDays")).toBe("7");
    expect(inAddress({ kind: "thisMonth" }, now).get("month")).toBe("2026-01");
    expect(inAddress({ kind: "between", first: "2026-03-01", last: "2026-03-01" }, now).get("to")).toBe(
      new Date(2026, 2, 2).toISOString(),
    );
  });
});

describe("stepsOf", () => {
  it("takes longer steps for longer periods", () => {
    expect(stepsOf({ kind: "lastDays", days: 1 })).toBe("HOUR");
    expect(stepsOf({ kind: "thisMonth" })).toBe("DAY");
    expect(stepsOf({ kind: "between", first: "2025-01-01", last: "2025-12-31" })).toBe("WEEK");
    expect(stepsOf({ kind: "lastDays", days: 3000 })).toBe("MONTH");
  });
});

describe("isWhole", () => {
  it("needs both days, in their order", () => {
    expect(isWhole("2026-03-01", "2026-03-01")).toBe(true);
    expect(isWhole("2026-03-02", "2026-03-01")).toBe(false);
    expect(isWhole("", "2026-03-01")).toBe(false);
  });
});
