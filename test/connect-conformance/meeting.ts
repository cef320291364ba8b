import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { text } from "node:stream/consumers";

/** What a server needs to know to dial the client that is to call it. */
export interface Invitation {
  url: string;
  /** What the server is to name itself: only apps with a name can serve. */
  appId: string;
}

/**
 * The runner tells clients where servers are, and never the other way round. So a server that is to dial tells the
 * runner a port of its own, at which it takes nothing but the invitation of its client.
 */
export async function awaitInvitation(accept: (invitation: Invitation) => void): Promise<number> {
  const port = createServer(async (socket) => accept(JSON.parse(await text(socket)) as Invitation));
  port.listen(0, "127.0.0.1");
  await once(port, "listening");
  return (port.address() as AddressInfo).port;
}

export async function invite(host: string, port: number, invitation: Invitation): Promise<void> {
  const socket = connect(port, host);
  await once(socket, "connect");
  socket.end(JSON.stringify(invitation));
}
