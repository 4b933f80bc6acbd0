/** Periods of time, on the clocks and the calendar of the reader. */
import type { Granularity, PeriodInput } from "@/graphql/operations";

export type Period =
  | { kind: "thisMonth" }
  | { kind: "lastMonth" }
  | { kind: "lastDays"; days: number }
  | { kind: "between"; first: string; last: string };

export const timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** As the gateway reads it. The last day of a range belongs to it. */
export function asked(period: Period, now: Date): PeriodInput {
  switch (period.kind) {
    case "thisMonth":
      return { month: { month: monthOf(now), timeZone } };
    case "lastMonth":
      return { month: { month: monthOf(new Date(now.getFullYear(), now.getMonth() - 1)), timeZone } };
    case "lastDays":
      return { lastDays: period.days };
    case "between":
      return { between: { from: midnight(period.first).toISOString(), to: midnight(period.last, 1).toISOString() } };
  }
}

/** The same for an address, as the exports take it. */
export function inAddress(period: Period, now: Date): URLSearchParams {
  const { month, lastDays, between } = asked(period, now);
  if (month) return new URLSearchParams({ month: month.month, timeZone });
  if (between) return new URLSearchParams({ from: between.from, to: between.to, timeZone });
  return new URLSearchParams({ lastDays: String(lastDays), timeZone });
}

/** Steps that are neither too many to see nor too few to tell anything. */
export function stepsOf(period: Period): Granularity {
  const days = daysIn(period);
  if (days <= 2) return "HOUR";
  return days <= 92 ? "DAY" : days <= 730 ? "WEEK" : "MONTH";
}

/** Whether a range has both its ends, in their order. */
export function isWhole(first: string, last: string): boolean {
  return first !== "" && last !== "" && first <= last;
}

function daysIn(period: Period): number {
  if (period.kind === "lastDays") return period.days;
  if (period.kind !== "between") return 31;
  return Math.round((midnight(period.last, 1).getTime() - midnight(period.first).getTime()) / 86_400_000);
}

function monthOf(day: Date): string {
  return `${String(day.getFullYear())}-${String(day.getMonth() + 1).padStart(2, "0")}`;
}

/** Where a day of the reader's begins; `later` days after it. */
function midnight(day: string, later = 0): Date {
  const [year = 0, month = 1, date = 1] = day.split("-").map(Number);
  return new Date(year, month - 1, date + later);
}
