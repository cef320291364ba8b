import type { Admit } from "../../rpc/dispatch/served-method.js";
import type { Session } from "../../tunnel/session.js";
import type { AdmitCall } from "../calls/admit-call.js";
import type { Connection } from "../calls/connection.js";

interface TunnelAdmissionOptions {
  readonly admit: AdmitCall;
  readonly session: () => Session;
  /** The `Origin` header of the request that opened the tunnel. */
  readonly origin: string | null | undefined;
  readonly connection: Connection;
}

/** Admits the calls of a tunnel, each with the headers that the tunnel has for all of them. */
export function admitTunnelCalls({ admit, session, origin, connection }: TunnelAdmissionOptions): Admit {
  return (call) => {
    addConnectionHeaders(call.header, session(), origin);
    return admit(call, connection);
  };
}

function addConnectionHeaders(header: Headers, { peer }: Session, origin: string | null | undefined): void {
  const { authorization } = peer;
  if (authorization !== undefined && !header.has("authorization")) header.set("authorization", authorization);
  // A page cannot choose its origin: the browser named it when the tunnel was opened.
  if (origin) header.set("origin", origin);
}
