import { Code, ConnectError } from "@connectrpc/connect";
import type { OpenSocket } from "../../tunnel/socket/socket.js";
import { CLOSE_CODE } from "../../tunnel/wire/protocol-error.js";
import type { DialServer, ServerUrls } from "../tunnel.js";
import { failureText, type ServerAttempt, serverListOf } from "./server-list.js";

/**
 * Opens a socket to the server at `urls`, or to one of several: to the same one as the last time, until that one cannot
 * be reached or its socket is lost. Rejects with what each server said if none can be reached.
 */
export async function dialOneOf(urls: ServerUrls, dial: DialServer): Promise<OpenSocket> {
  if (!urls[1]) return dial(urls[0]);
  const list = serverListOf(urls);
  const tried: ServerAttempt[] = [];
  for (;;) {
    const attempt = list.pick(tried) ?? (await list.wait(tried).catch(throwReasons));
    tried.push(attempt);
    try {
      return watched(await dial(attempt.url), attempt);
    } catch (error) {
      // This runtime has no WebSocket, for any server.
      if (error instanceof ConnectError && error.code === Code.Unimplemented) throw error;
      attempt.failed(error);
    }
  }
}

/** What errors call the server at `urls`, or several. */
export const hostOf = (urls: ServerUrls): string =>
  urls[1] ? `any of ${urls.length} servers` : new URL(urls[0]).host;

/** Throws only what the servers said: who dials names them, as hostOf() does. */
function throwReasons(error: unknown): never {
  throw new Error(failureText(error));
}

/** `open`, which notes the first message of its socket as an answer, and the loss of it as a failure. */
function watched(open: OpenSocket, attempt: ServerAttempt): OpenSocket {
  return (events) => {
    let hasAnswered = false;
    const socket = open({
      onDrained: events.onDrained,
      onMessage(bytes) {
        if (!hasAnswered) attempt.succeeded();
        hasAnswered = true;
        events.onMessage(bytes);
      },
      onClosed(code, reason) {
        noteClose(code, reason);
        events.onClosed(code, reason);
      },
    });
    const noteClose = (code: number, reason: string) => {
      // A session that is not needed any more, or a server that closes: that one refuses the next socket.
      if (code !== CLOSE_CODE.normal) attempt.failed(new Error(`the tunnel was closed (${code}: ${reason})`));
    };
    return {
      send: (message, free) => socket.send(message, free),
      get bufferedBytes() {
        return socket.bufferedBytes;
      },
      keepProcessAlive: (isBusy) => socket.keepProcessAlive(isBusy),
      close(code, reason) {
        noteClose(code, reason);
        socket.close(code, reason);
      },
    };
  };
}
