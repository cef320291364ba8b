import { create } from "@bufbuild/protobuf";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { ca } from "../support/certificates.js";
import {
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.js";
import { awaitInvitation } from "./meeting.js";
import { oneFromRunner, toRunner } from "./pipe.js";
import { conformanceService } from "./service.js";
import { openTunnelPort } from "./tunnel-port.js";

// The server under test behind a tunnel. Its client connects to it or, with "dials", it connects to its client.
const { useTls, serverCreds, messageReceiveLimit } = await oneFromRunner(ServerCompatRequestSchema);
const { key, cert } = serverCreds ?? { key: new Uint8Array(), cert: new Uint8Array() };

async function listens(): Promise<number> {
  const tls = useTls ? { key: Buffer.from(key), cert: Buffer.from(cert) } : undefined;
  return (await openTunnelPort(conformanceService, messageReceiveLimit, { tls })).port;
}

function dials(): Promise<number> {
  return awaitInvitation(({ url, appId }) => {
    const limits = { messageBytes: messageReceiveLimit };
    createTunnelTransport(url, { appId, ca, limits }).serve(conformanceService);
  });
}

const port = await (process.argv[2] === "dials" ? dials() : listens());
toRunner(
  ServerCompatResponseSchema,
  create(ServerCompatResponseSchema, { host: "127.0.0.1", port, ...(useTls && { pemCert: cert }) }),
);
