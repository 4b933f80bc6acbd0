import { describe, expect, it } from "vitest";
import { money, quantity, typedDecimal } from "./amounts";

describe("money", () => {
  it("keeps each of the ten decimals of an amount that no float could hold", () => {
    expect(money("9999999999999999.1234567891", "EUR", "en")).toBe("€9,999,999,999,999,999.1234567891");
    expect(money("0.1", "USD", "en")).toBe("$0.10");
    expect(money("0.0000000001", "USD", "en")).toBe("$0.0000000001");
  });
});

describe("quantity", () => {
  it("counts beyond what a float could", () => {
    expect(quantity("9007199254740993", "en")).toBe("9,007,199,254,740,993");
  });
});

describe("typedDecimal", () => {
  it("takes a decimal as people write it", () => {
    expect(typedDecimal("0.0125")).toBe("0.0125");
    expect(typedDecimal(" 1 000,5 ")).toBe("1000.5");
  });

  it("takes nothing else", () => {
    for (const text of ["", "x", "1.2.3", "1e3", "0x1", ".", "Infinity", "1,000,000"]) expect(typedDecimal(text)).toBeNull();
  });
});
