/** The one socket that subscriptions share, and whether it stands. */
import { createClient, type Client } from "graphql-ws";
import { readonly, ref } from "vue";

const SESSION_ENDED = 4403;
const PING_EVERY_MS = 12_000;
const PONG_WITHIN_MS = 5_000;
const LONGEST_WAIT_MS = 5_000;

const lost = ref(false);

/** Whether what is on the page may be out of date, since the gateway can't be heard. */
export const isConnectionLost = readonly(lost);

let hurry = (): void => undefined;

/** Tries to connect again now. */
export function reconnect(): void {
  hurry();
}

export function openSocket(whenSessionEnds: () => void): Client {
  let overdue: ReturnType<typeof setTimeout> | undefined;
  return createClient({
    url: () => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/graphql`,
    keepAlive: PING_EVERY_MS,
    retryAttempts: Infinity,
    shouldRetry: (problem) => !(problem instanceof CloseEvent && problem.code === SESSION_ENDED),
    retryWait: (retries) => waited(Math.min(LONGEST_WAIT_MS, 250 * 2 ** retries) * (0.5 + Math.random() / 2)),
    on: {
      connected: () => (lost.value = false),
      ping: (isReceived) => {
        if (!isReceived) overdue = setTimeout(() => hangUp(), PONG_WITHIN_MS);
      },
      pong: () => clearTimeout(overdue),
      opened: (socket) => (hangUp = () => (socket as WebSocket).close(4408, "No answer to a ping")),
      closed: (event) => {
        clearTimeout(overdue);
        const { code, wasClean } = event as CloseEvent;
        if (code === SESSION_ENDED) whenSessionEnds();
        else lost.value = !(wasClean && code === 1000);
      },
    },
  });
}

let hangUp = (): void => undefined;

function waited(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    hurry = done;
    function done(): void {
      clearTimeout(timer);
      resolve();
    }
  });
}

addEventListener("online", () => hurry());
