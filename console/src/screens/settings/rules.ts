/** A project's route rules as a list that is changed as a whole. A rule has no id: method and pattern say which it is. */
import type { RouteRule } from "@/composables/useSettings";

export const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "*"] as const;

export function nameOf({ method, pattern }: RouteRule): string {
  return `${method} ${pattern}`;
}

/** With the rule where `former` stands, and last where there is none, or somebody else has taken it away. */
export function withRule(rules: readonly RouteRule[], rule: RouteRule, former: RouteRule | null): RouteRule[] {
  const at = former ? placeOf(rules, former) : -1;
  return at < 0 ? [...plain(rules), rule] : plain(rules).with(at, rule);
}

export function withoutRule(rules: readonly RouteRule[], rule: RouteRule): RouteRule[] {
  return plain(rules).filter((each) => nameOf(each) !== nameOf(rule));
}

export function withRuleAt(rules: readonly RouteRule[], rule: RouteRule, to: number): RouteRule[] {
  return withoutRule(rules, rule).toSpliced(to, 0, rule);
}

function placeOf(rules: readonly RouteRule[], rule: RouteRule): number {
  return rules.findIndex((each) => nameOf(each) === nameOf(rule));
}

/** As the gateway takes them: what the cache adds to them is none of its business. */
function plain(rules: readonly RouteRule[]): RouteRule[] {
  return rules.map(({ method, pattern, permission }) => ({ method, pattern, permission }));
}
