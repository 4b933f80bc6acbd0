/** Who is signed in. */
import { computed, readonly, shallowRef } from "vue";
import { client, onUnauthenticated, renewClient } from "./api/client";
import { SignInDocument, SignOutDocument, ViewerDocument, type ViewerQuery } from "./graphql/operations";

type User = NonNullable<ViewerQuery["viewer"]>["user"];

const known = shallowRef<User | null>();

export const viewer = readonly(known);
export const isSignedIn = computed(() => Boolean(known.value));

/** Asks the gateway once who holds the cookie. */
export async function meet(): Promise<void> {
  if (known.value !== undefined) return;
  const { data } = await client.value.query(ViewerDocument, {}).toPromise();
  known.value = data?.viewer?.user ?? null;
}

/** Null when it is done, else why not. */
export async function signIn(email: string, password: string): Promise<string | null> {
  renewClient();
  const { data, error } = await client.value.mutation(SignInDocument, { email, password, cookie: true }).toPromise();
  const refused = data?.signIn.userErrors[0]?.message ?? error?.graphQLErrors[0]?.message ?? error?.message;
  if (refused || !data?.signIn.user) return refused ?? "";
  known.value = undefined;
  await meet();
  return null;
}

export async function signOut(everywhere = false): Promise<void> {
  await client.value.mutation(SignOutDocument, { everywhere }).toPromise();
  await leave();
}

/** What the page does when the session is over. */
export function whenSignedOut(act: () => Promise<unknown>): void {
  go = act;
}

let go = (): Promise<unknown> => Promise.resolve();

/** The screen goes before the client does: with a new one it would ask for everything again, as nobody. */
async function leave(): Promise<void> {
  if (!known.value) return;
  known.value = null;
  await go();
  renewClient();
}

onUnauthenticated(() => void leave());
