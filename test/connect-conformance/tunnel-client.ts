import type { Transport } from "@connectrpc/connect";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createCaller } from "../../src/tunnel/call/caller.js";
import { cert, key } from "../support/certificates.js";
import type { ClientCompatRequest } from "./gen/connectrpc/conformance/v1/client_compat_pb.js";
import { invite } from "./meeting.js";
import { performAll } from "./perform.js";
import { openTunnelPort } from "./tunnel-port.js";

// The client under test: it connects to the server or, with "listens", the server connects to it. One tunnel per server.
const tunnels = new Map<number, Promise<Transport>>();

async function dial({
  host,
  port,
  serverTlsCert,
  messageReceiveLimit,
}: ClientCompatRequest): Promise<Transport> {
  const hasTls = serverTlsCert.length > 0;
  return createTunnelTransport(`${hasTls ? "https" : "http"}://${host}:${port}`, {
    limits: { messageBytes: messageReceiveLimit },
    ...(hasTls && { ca: Buffer.from(serverTlsCert) }),
  });
}

async function listen({ host, port, serverTlsCert, messageReceiveLimit: messageBytes }: ClientCompatRequest) {
  const tls = serverTlsCert.length > 0 ? { key, cert } : undefined;
  return new Promise<Transport>((resolve, reject) => {
    openTunnelPort(() => {}, messageBytes, {
      tls,
      onSettings: (session) => resolve(createCaller(session, { messageBytes })),
    })
      .then(({ url }) => invite(host, port, { url, appId: "server-under-test" }))
      .catch(reject);
  });
}

const open = process.argv[2] === "listens" ? listen : dial;
await performAll((request) => {
  const { port } = request;
  const tunnel = tunnels.get(port) ?? open(request);
  tunnels.set(port, tunnel);
  return tunnel;
});
process.exit();
