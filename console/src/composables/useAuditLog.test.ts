import { describe, expect, it } from "vitest";
import { withNewest, withOlder, type Known } from "./useAuditLog";

type Row = { id: string };

/** A page of entries; behind its last there are others, if it is told so. */
function page(ids: string, hasNextPage = true) {
  return { nodes: [...ids].map((id) => ({ id })), pageInfo: { hasNextPage, endCursor: `behind ${ids.at(-1) ?? "nothing"}` } };
}

function shown({ entries, before }: Known<Row>): [string, string | null] {
  return [entries.map(({ id }) => id).join(""), before];
}

const first = withNewest<Row>({ entries: [], before: null }, page("fed"));

describe("what is known of the audit log", () => {
  it("begins with the newest page, and goes on with older ones to the end", () => {
    expect(shown(first)).toEqual(["fed", "behind d"]);
    const all = withOlder(withOlder(first, page("cb")), page("a", false));
    expect(shown(all)).toEqual(["fedcba", null]);
  });

  it("keeps what is older when new entries come", () => {
    const more = withOlder(first, page("cb"));
    expect(shown(withNewest(more, page("hgfe")))).toEqual(["hgfedcb", "behind b"]);
    expect(shown(withNewest(more, page("fed")))).toEqual(["fedcb", "behind b"]);
  });

  it("has no gap: what a page doesn't reach is read again when it is asked for", () => {
    expect(shown(withNewest(withOlder(first, page("cb")), page("zyx")))).toEqual(["zyx", "behind x"]);
  });

  it("is nothing where there is nothing", () => {
    expect(shown(withNewest(first, page("", false)))).toEqual(["", null]);
  });
});
