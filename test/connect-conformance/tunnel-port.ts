import type { ConnectRouter } from "@connectrpc/connect";
import { Connections } from "../../src/node-http/connections.js";
import { type OnePort, type OnePortOptions, openPort } from "../../src/node-http/one-port.js";
import { tunnelUpgrade } from "../../src/server/tunnel/upgrade.js";
import { createDispatcher } from "../../src/tunnel/answer/dispatcher.js";
import type { PeerSettings } from "../../src/tunnel/session/peer.js";
import { Session } from "../../src/tunnel/session.js";

/** A port that accepts only tunnels, and serves `routes` over them. */
export function openTunnelPort(
  routes: (router: ConnectRouter) => void,
  messageBytes: number,
  {
    tls,
    onSettings,
  }: { tls?: OnePortOptions["tls"]; onSettings?: (session: Session, peer: PeerSettings) => void } = {},
): Promise<OnePort> {
  const connections = new Connections(1000);
  const dispatcher = createDispatcher(routes);
  const accept = (open: ConstructorParameters<typeof Session>[0]) => {
    const session: Session = new Session(open, {
      isDialler: false,
      limits: { messageBytes },
      answer: dispatcher.on(() => session),
      onSettings: (peer) => onSettings?.(session, peer),
    });
  };
  const upgrade = tunnelUpgrade({ tunnels: { accept } }, connections, () => undefined);
  return openPort((_request, response) => void response.writeHead(404).end(), {
    host: "127.0.0.1",
    port: 0,
    tls,
    connections,
    upgrade,
  });
}
