/** How the console talks with the gateway: operations by POST, subscriptions over one socket, all of it through one cache. */
import { cacheExchange } from "@urql/exchange-graphcache";
import { Client, fetchExchange, mapExchange, subscriptionExchange, type CombinedError } from "@urql/vue";
import { shallowRef } from "vue";
import { cacheConfig } from "./cache";
import { resuming } from "./resuming";
import { openSocket } from "./socket";

export const client = shallowRef(newClient());

/** Forgets all that was read, for somebody else to sign in. */
export function renewClient(): void {
  client.value = newClient();
}

let whenUnauthenticated = (): void => undefined;

/** What happens when the gateway knows the session no more. */
export function onUnauthenticated(act: () => void): void {
  whenUnauthenticated = act;
}

function newClient(): Client {
  const end = (): void => {
    if (client.value === created) whenUnauthenticated();
  };
  const socket = openSocket(end);
  const created = new Client({
    url: "/graphql",
    preferGetMethod: false,
    fetchOptions: { headers: { "X-Tessera-CSRF": "1" }, credentials: "same-origin" },
    exchanges: [
      mapExchange({ onError: (error) => isUnauthenticated(error) && end() }),
      cacheExchange(cacheConfig),
      fetchExchange,
      subscriptionExchange({ forwardSubscription: resuming(socket) }),
    ],
  });
  return created;
}

function isUnauthenticated(error: CombinedError): boolean {
  return error.graphQLErrors.some(({ extensions }) => extensions.code === "UNAUTHENTICATED");
}
