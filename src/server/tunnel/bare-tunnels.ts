import type { ConnectRouter, ConnectRouterOptions } from "@connectrpc/connect";
import { createDispatcher } from "../../tunnel/answer/dispatcher.js";
import { Session } from "../../tunnel/session.js";
import { CLOSE_CODE } from "../../tunnel/wire/protocol-error.js";
import type { Tunnels } from "./accept.js";

/** Creates tunnels to `routes` without the steps of the pipeline: no gate, no server header, and no app is called. */
export function bareTunnels(routes: (router: ConnectRouter) => void, router: ConnectRouterOptions): Tunnels {
  const dispatcher = createDispatcher(routes, { router });
  const sessions = new Set<Session>();
  const close = () => {
    for (const session of sessions) session.close(CLOSE_CODE.normal, "the server is closing");
  };
  return {
    accept(open) {
      const session: Session = new Session(open, {
        isDialler: false,
        answer: dispatcher.on(() => session),
        onClosed: () => void sessions.delete(session),
      });
      sessions.add(session);
    },
    sessions,
    leave: close,
    close,
  };
}
