import { describe, expect, it, vi } from "vitest";
import { resuming } from "./resuming";

type Sink = { next: (result: { data: unknown }) => void };

/** A socket that hands out what it was given, as graphql-ws keeps it for the next connection. */
function socketOf() {
  const kept: { payload: { variables: Record<string, unknown> }; sink: Sink }[] = [];
  const subscribe = vi.fn((payload, sink) => {
    kept.push({ payload, sink });
    return () => undefined;
  });
  return { kept, subscribe };
}

describe("resuming", () => {
  it("asks on a new connection for what came behind the last event that was seen", () => {
    const socket = socketOf();
    const asked = { after: "c0", projectId: "prj_1" };
    const seen: unknown[] = [];
    resuming(socket as never)({ query: "subscription { x }", variables: asked } as never, {} as never).subscribe({
      next: (result) => seen.push(result.data),
      error: () => undefined,
      complete: () => undefined,
    });
    const [{ payload, sink }] = socket.kept as [(typeof socket.kept)[0]];
    expect(payload.variables).toEqual({ after: "c0", projectId: "prj_1" });
    sink.next({ data: { projectEvents: { cursor: "c1" } } });
    sink.next({ data: null });
    expect(payload.variables).toEqual({ after: "c1", projectId: "prj_1" });
    expect(seen).toEqual([{ projectEvents: { cursor: "c1" } }, null]);
    expect(asked.after).toBe("c0");
  });
});
