/** Mutations: each is done, or refused with a sentence for the person who asked for it. */
import type { AnyVariables, CombinedError, TypedDocumentNode } from "@urql/vue";
import { i18n } from "@/i18n";
import { client } from "./client";

interface UserError {
  code: string;
  message: string;
}

type PayloadOf<Data> = Exclude<Data[keyof Data], string | undefined>;

/** The payload where it was done; `refusal` says why not, in the gateway's words. A conflict would pass were the state another. */
export type Outcome<Payload> = { payload: Payload; refusal: null } | { payload: null; refusal: string; isConflict?: boolean };

export async function act<Data extends object, Variables extends AnyVariables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Outcome<PayloadOf<Data>>> {
  const { data, error } = await client.value.mutation(document, variables).toPromise();
  const payload = data && (Object.values(data)[0] as PayloadOf<Data> & { userErrors: UserError[] });
  const refusal = payload?.userErrors[0]?.message ?? (error && sentenceOf(error));
  if (payload && !refusal) return { payload, refusal: null };
  const isConflict = payload?.userErrors[0]?.code === "CONFLICT";
  return { payload: null, refusal: refusal ?? i18n.global.t("refused.unreachable"), isConflict };
}

/** What the gateway said; null if it wasn't reached. */
export function sentenceOf(error: CombinedError): string | null {
  return error.graphQLErrors[0]?.message ?? null;
}
