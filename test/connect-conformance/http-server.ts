import { create, createRegistry } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { createAccess } from "../../src/server/access/gate.js";
import { createAdmission } from "../../src/server/calls/admission.js";
import { observeCalls } from "../../src/server/calls/observe.js";
import { silent } from "../../src/server/context.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import {
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.js";
import { file_connectrpc_conformance_v1_service } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { oneFromRunner, toRunner } from "./pipe.js";
import { conformanceService } from "./service.js";

/** "bare": without checks and interceptors, whose errors have details that the runner does not know. */
const isBare = process.argv[2] === "bare";

// The server's normal port with its checks, interceptors and limits, and the runner's services.
const { useTls, serverCreds, messageReceiveLimit } = await oneFromRunner(ServerCompatRequestSchema);
const server = createServer({ config: { limits: { messageBytes: messageReceiveLimit } } });
const access = createAccess(server.config.access, {
  platform: nodePlatform,
  log: silent,
  appId: "",
  isApp: async () => false,
});
const admission = createAdmission(server.config.limits);
/** Connect's own refusal. */
const tooLarge = (bytes: number) =>
  bytes > messageReceiveLimit ? new ConnectError(`${bytes} bytes`, Code.ResourceExhausted) : undefined;
const { key, cert } = serverCreds ?? { key: new Uint8Array(), cert: new Uint8Array() };
const { port } = await listen(
  {
    ...server,
    routes: isBare
      ? conformanceService
      : observeCalls([]).observe(admission.limitCalls(access.protect(conformanceService))),
    dispatch: {
      ...(isBare ? { admit: () => ({}), checkMessage: tooLarge } : server.dispatch),
      routes: conformanceService,
    },
    options: {
      ...server.options,
      ...(isBare && { interceptors: [] }),
      jsonOptions: { registry: createRegistry(file_connectrpc_conformance_v1_service) },
    },
  },
  { port: 0, ...(useTls && { tls: { key: Buffer.from(key), cert: Buffer.from(cert) } }) },
);
toRunner(
  ServerCompatResponseSchema,
  create(ServerCompatResponseSchema, { host: "127.0.0.1", port, ...(useTls && { pemCert: cert }) }),
);
