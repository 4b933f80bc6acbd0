/** Instants as their reader's clock and calendar show them. */

export type Day = "today" | "yesterday" | "other";

/** Which day an instant is on, as seen at `now`, on the clocks of this machine. */
export function dayOf(instant: string, now: Date): Day {
  const days = Math.round((midnight(now) - midnight(new Date(instant))) / 86_400_000); // a day of 23 hours is one too
  return days === 0 ? "today" : days === 1 ? "yesterday" : "other";
}

export function timeOf(instant: string, language: string): string {
  return new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(
    new Date(instant),
  );
}

export function dateOf(instant: string, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(new Date(instant));
}

/** To the second and with the zone, for who looks closer. */
export function exactly(instant: string, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" }).format(new Date(instant));
}

function midnight(of: Date): number {
  return new Date(of.getFullYear(), of.getMonth(), of.getDate()).getTime();
}
