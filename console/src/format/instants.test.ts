import { describe, expect, it } from "vitest";
import { dayOf, timeOf } from "./instants";

const now = new Date(2026, 10, 24, 12, 0);
const at = (day: number, hour: number): string => new Date(2026, 10, day, hour, 26).toISOString();

describe("dayOf", () => {
  it("tells days by the reader's own midnight, however few hours lie between", () => {
    expect(dayOf(at(24, 0), now)).toBe("today");
    expect(dayOf(at(24, 23), now)).toBe("today");
    expect(dayOf(at(23, 23), now)).toBe("yesterday");
    expect(dayOf(at(22, 23), now)).toBe("other");
    expect(dayOf(at(25, 0), now)).toBe("other");
  });

  it("takes a day that the clocks shorten or lengthen for one day", () => {
    for (let day = 1; day <= 365; day++) {
      const noon = new Date(2026, 0, day, 12);
      expect(dayOf(new Date(2026, 0, day - 1, 0, 1).toISOString(), noon)).toBe("yesterday");
    }
  });
});

describe("timeOf", () => {
  it("shows the clock of the reader", () => {
    expect(timeOf(at(24, 10), "en")).toBe("10:26");
    expect(timeOf(at(24, 0), "ru")).toBe("00:26");
  });
});
