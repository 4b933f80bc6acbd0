/** Subscriptions that, after a lost connection, go on behind the last event that was seen. */
import type { SubscriptionForwarder } from "@urql/vue";
import type { Client, SubscribePayload } from "graphql-ws";

/**
 * The socket sends the payload of a subscription again on each new connection. So the payload keeps the cursor of the last
 * event, and nothing is missed or told twice.
 */
export function resuming(socket: Pick<Client, "subscribe">): SubscriptionForwarder {
  return ({ query, variables }) => {
    const payload: SubscribePayload & { variables: Record<string, unknown> } = {
      query: query ?? "",
      variables: { ...variables },
    };
    return {
      subscribe: (sink) => ({
        unsubscribe: socket.subscribe<Record<string, unknown>>(payload, {
          ...sink,
          next(result) {
            payload.variables.after = cursorIn(result.data) ?? payload.variables.after;
            sink.next(result as Parameters<typeof sink.next>[0]);
          },
        }),
      }),
    };
  };
}

function cursorIn(data: Record<string, unknown> | null | undefined): unknown {
  const [event] = Object.values(data ?? {});
  return typeof event === "object" && event !== null && "cursor" in event ? event.cursor : undefined;
}
