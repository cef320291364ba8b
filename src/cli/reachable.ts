import { connect } from "node:net";
import { quote } from "../lib/quote.js";
import { UsageError } from "./command-line.js";
import { reasonOf } from "./error-text.js";

/** The timeout of a connection. */
const CONNECT_TIMEOUT_MS = 5000;

/** Fails with a UsageError unless something accepts connections at one of `urls`. Does nothing if there are none. */
export async function requireOneReachable(urls: readonly string[]): Promise<void> {
  const results = await Promise.allSettled(urls.map(requireReachable));
  const [failure] = results;
  if (failure?.status === "rejected" && results.every(({ status }) => status === "rejected"))
    throw failure.reason;
}

/** Fails with a UsageError unless something accepts connections at `url`. */
export async function requireReachable(url: string): Promise<void> {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const socket = connect({
    host,
    port: Number(port) || (protocol === "https:" ? 443 : 80),
    timeout: CONNECT_TIMEOUT_MS,
  });
  const reason = await new Promise<string | undefined>((resolve) => {
    socket.once("connect", () => resolve(undefined));
    socket.once("timeout", () => resolve(`no connection within ${CONNECT_TIMEOUT_MS / 1000} s`));
    socket.once("error", (error) => resolve(reasonOf(error)));
  });
  socket.destroy();
  if (reason !== undefined) throw new UsageError(`no server answers at ${quote(url)}: ${reason}`);
}
