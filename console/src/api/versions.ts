/** Changes of one object, in order: what a page changed itself in between is nobody else's edit. */
import type { Outcome } from "./acting";

const underWay = new Map<string, Promise<unknown>>();
const followed = new Map<string, number>();

/** Sends a change of a version when those before it are answered; `versionOf` reads from its answer which one it made. */
export function inOrder<Payload>(
  id: string,
  version: number,
  send: (expected: number) => Promise<Outcome<Payload>>,
  versionOf: (payload: Payload) => number | undefined,
): Promise<Outcome<Payload>> {
  const sent = (underWay.get(id) ?? Promise.resolve()).then(async () => {
    const expected = ownLatest(id, version);
    const outcome = await send(expected);
    if (outcome.payload !== null && versionOf(outcome.payload) === expected + 1) followed.set(`${id} ${expected}`, expected + 1);
    return outcome;
  });
  underWay.set(id, sent);
  return sent;
}

function ownLatest(id: string, version: number): number {
  const next = followed.get(`${id} ${version}`);
  return next === undefined ? version : ownLatest(id, next);
}
