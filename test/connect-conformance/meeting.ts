import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { text } from "node:stream/consumers";

/** The data that a server needs to connect to the client that will call it. */
export interface Invitation {
  url: string;
  /** The app id of the server: only apps with an id can serve. */
  appId: string;
}

/**
 * The runner gives the address of a server to its clients, and never the reverse. So a server that must connect gives the
 * runner a port of its own, on which it accepts only the invitation of its client.
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
