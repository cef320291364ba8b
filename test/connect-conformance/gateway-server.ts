import { create } from "@bufbuild/protobuf";
import { listen } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { forwarding } from "./forward.js";
import {
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.js";
import { ConformanceService } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { oneFromRunner, toRunner } from "./pipe.js";
import { conformanceService } from "./service.js";
import { openTunnelPort } from "./tunnel-port.js";

// The runner's client calls a gateway over HTTP, which calls the service under test through a tunnel.
const { messageReceiveLimit } = await oneFromRunner(ServerCompatRequestSchema);
const behind = await openTunnelPort(conformanceService, messageReceiveLimit);
const tunnel = createTunnelTransport(behind.url);
const server = createServer();
const { port } = await listen(
  {
    ...server,
    routes: forwarding(ConformanceService, () => tunnel),
    options: {},
  },
  { port: 0 },
);
toRunner(ServerCompatResponseSchema, create(ServerCompatResponseSchema, { host: "127.0.0.1", port }));
