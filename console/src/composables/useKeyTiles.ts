/** The tiles of a project's templates, as somebody sees them who may ask for keys. */
import { computed } from "vue";
import { act } from "@/api/acting";
import { PROVISIONAL } from "@/api/cache";
import {
  KeyRequestCancelDocument,
  KeyRequestCreateDocument,
  KeyRevealDocument,
  KeyRevokeDocument,
  KeyRotateDocument,
  KeyTilesDocument,
  MyKeyChangesDocument,
  type KeyTilesQuery,
} from "@/graphql/operations";
import { useLive } from "./useLive";

export type Tile = NonNullable<KeyTilesQuery["project"]>["templates"][number];

export function useKeyTiles(projectId: string) {
  const { data, ...rest } = useLive(KeyTilesDocument, { projectId }, { of: MyKeyChangesDocument });
  return { tiles: computed(() => data.value?.project?.templates ?? []), project: computed(() => data.value?.project), ...rest };
}

export function ask(templateId: string, note: string) {
  return act(KeyRequestCreateDocument, { input: { templateId, note: note || null } });
}

/** Whether the request shows before the gateway has made it, and given it the id that it can be taken back by. */
export function isBeingMade(request: NonNullable<Tile["viewerRequest"]>): boolean {
  return request.id.startsWith(PROVISIONAL);
}

export function takeBack(requestId: string) {
  return act(KeyRequestCancelDocument, { input: { requestId } });
}

/** The key's token, for its holder alone; nothing keeps it. */
export function reveal(keyId: string) {
  return act(KeyRevealDocument, { input: { keyId } });
}

export function rotate(keyId: string, overlapSeconds: number) {
  return act(KeyRotateDocument, { input: { keyId, overlapSeconds } });
}

export function giveUp(keyId: string) {
  return act(KeyRevokeDocument, { input: { keyId } });
}
