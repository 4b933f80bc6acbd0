/** What the audit log tells of, and on which screen of the project what it was done to is found. */
import type { Entry } from "@/composables/useAuditLog";

/** As the gateway names them; the texts are those of `did`. */
export const ACTS = [
  "project.created",
  "project.updated",
  "project.deleted",
  "node.created",
  "node.updated",
  "node.deleted",
  "role.created",
  "role.updated",
  "role.deleted",
  "member.added",
  "member.updated",
  "member.removed",
  "template.created",
  "template.updated",
  "template.deleted",
  "request.created",
  "request.cancelled",
  "request.approved",
  "request.rejected",
  "key.issued",
  "key.revealed",
  "key.rotated",
  "key.suspended",
  "key.resumed",
  "key.revoked",
  "key.expired",
  "secret.created",
  "secret.updated",
  "secret.deleted",
  "secret.revealed",
  "usage.reported",
  "user.looked_up",
  "user.look_up_failed",
] as const;

type Thing = NonNullable<Entry["object"]>;

const SCREENS: Partial<Record<Thing["__typename"], string>> = {
  IssuedKey: "issued",
  KeyRequest: "keys",
  KeyTemplate: "keys",
  Member: "members",
  Project: "settings",
  ProjectNode: "settings",
  Role: "roles",
  Secret: "secrets",
};

/** The name of the screen; null where none shows it. */
export function screenOf(thing: Thing): string | null {
  return SCREENS[thing.__typename] ?? null;
}

/** What it is called, and whose it is. */
export function namesOf(thing: Thing): { name: string | null; whose: string | null } {
  const whose = "user" in thing ? thing.user.name : null;
  if ("title" in thing) return { name: thing.title, whose };
  return { name: "template" in thing ? thing.template.name : null, whose };
}
