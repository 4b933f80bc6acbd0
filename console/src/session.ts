/** Who is signed in. */
import { computed, readonly, shallowRef } from "vue";
import { act } from "./api/acting";
import { client, onUnauthenticated, renewClient } from "./api/client";
import {
  PasswordChangeDocument,
  SignInDocument,
  SignOutDocument,
  SignUpDocument,
  ViewerDocument,
  type ViewerQuery,
} from "./graphql/operations";

type User = NonNullable<ViewerQuery["viewer"]>["user"];

const known = shallowRef<User | null>();
const mayAnybodyJoin = shallowRef(false);

export const viewer = readonly(known);
/** Whether whoever has no account may make one. */
export const isSignUpOpen = readonly(mayAnybodyJoin);
/** Whether it is known who holds the cookie, or that nobody does. */
export const isMet = computed(() => known.value !== undefined);
export const isSignedIn = computed(() => Boolean(known.value));

/** Where somebody was going who must sign in first; never to another site. */
export function wanted({ query }: { query: Record<string, unknown> }): string {
  const { next } = query;
  return typeof next === "string" && /^\/(?![/\\])/.test(next) ? next : "/projects";
}

/** Asks the gateway once who holds the cookie. */
export async function meet(): Promise<void> {
  if (known.value !== undefined) return;
  const { data } = await client.value.query(ViewerDocument, {}).toPromise();
  mayAnybodyJoin.value = data?.isSignUpOpen ?? false;
  known.value = data?.viewer?.user ?? null;
}

/** Null when it is done, else why not. */
export async function signIn(email: string, password: string): Promise<string | null> {
  renewClient();
  return begun(await act(SignInDocument, { email, password, cookie: true }));
}

/** Makes an account and signs in to it. */
export async function signUp(email: string, name: string, password: string): Promise<string | null> {
  renewClient();
  return begun(await act(SignUpDocument, { email, name, password, cookie: true }));
}

/** Every other session ends. */
export async function changePassword(currentPassword: string, newPassword: string): Promise<string | null> {
  const { payload, refusal } = await act(PasswordChangeDocument, { currentPassword, newPassword, cookie: true });
  if (payload) renewClient(); // what the earlier one says of its session's end concerns nobody
  return refusal;
}

export async function signOut(everywhere = false): Promise<void> {
  await client.value.mutation(SignOutDocument, { everywhere }).toPromise();
  await leave();
}

/** Meets whose session has begun. */
async function begun({ refusal }: { refusal: string | null }): Promise<string | null> {
  if (refusal !== null) return refusal;
  known.value = undefined;
  await meet();
  return null;
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
