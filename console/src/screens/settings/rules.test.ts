import { describe, expect, it } from "vitest";
import type { RouteRule } from "@/composables/useSettings";
import { nameOf, withoutRule, withRule, withRuleAt } from "./rules";

const [first, second, third] = ["/a", "/b", "/c"].map(
  (pattern): RouteRule => ({ method: "GET", pattern, permission: "PROJECT_VIEW" }),
) as [RouteRule, RouteRule, RouteRule];
const rules = [first, second, third];
const names = (of: RouteRule[]): string[] => of.map(nameOf);

describe("route rules", () => {
  it("keep their place when one is changed, also after others were moved", () => {
    const changed: RouteRule = { ...second, pattern: "/b/*" };
    expect(names(withRule([third, second, first], changed, second))).toEqual(["GET /c", "GET /b/*", "GET /a"]);
  });

  it("have a new one last, and one that was taken away meanwhile too", () => {
    expect(names(withRule([first], third, null))).toEqual(["GET /a", "GET /c"]);
    expect(names(withRule([first], { ...third, pattern: "/d" }, second))).toEqual(["GET /a", "GET /d"]);
  });

  it("are moved, taken away and brought back where they stood", () => {
    expect(names(withRuleAt(rules, third, 0))).toEqual(["GET /c", "GET /a", "GET /b"]);
    expect(names(withRuleAt(rules, first, 1))).toEqual(["GET /b", "GET /a", "GET /c"]);
    expect(names(withRuleAt(withoutRule(rules, second), second, 1))).toEqual(names(rules));
  });

  it("are sent as they are, without what the cache adds", () => {
    const cached = [{ __typename: "RouteRule", ...first }];
    expect(withRule(cached, second, null)).toEqual([first, second]);
  });
});
