import type { Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { forwarding } from "./forward.js";
import type { ClientCompatRequest } from "./gen/connectrpc/conformance/v1/client_compat_pb.js";
import { HTTPVersion, Protocol } from "./gen/connectrpc/conformance/v1/config_pb.js";
import { ConformanceService } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { performAll } from "./perform.js";
import { openTunnelPort } from "./tunnel-port.js";

// The client under test calls a gateway through a tunnel, which calls the runner's server over HTTP with the settings of the test.
const TEST_NAME = "x-test-case-name";
const servers = new Map<string, Transport>();
const { url } = await openTunnelPort(
  forwarding(ConformanceService, ({ requestHeader }) => {
    const name = requestHeader.get(TEST_NAME) ?? "";
    const server = servers.get(name);
    if (!server) throw new Error(`no test is named ${name}`);
    return server;
  }),
  64 * 1024 * 1024,
);
const tunnel = createTunnelTransport(url);

/** One transport for all calls to the same server with the same settings. */
const transports = new Map<string, Transport>();

function overHttp(request: ClientCompatRequest): Transport {
  const { port, protocol, messageReceiveLimit } = request;
  const key = `${port} ${protocol}`;
  const known = transports.get(key);
  if (known) return known;
  const httpVersion: "1.1" | "2" = request.httpVersion === HTTPVersion.HTTP_VERSION_1 ? "1.1" : "2";
  const options = {
    baseUrl: `http://${request.host}:${port}`,
    httpVersion: httpVersion as "2",
    readMaxBytes: messageReceiveLimit,
  };
  const create =
    protocol === Protocol.GRPC
      ? createGrpcTransport
      : protocol === Protocol.GRPC_WEB
        ? createGrpcWebTransport
        : createConnectTransport;
  const transport = create({ ...options, useBinaryFormat: true });
  transports.set(key, transport);
  return transport;
}

await performAll((request) => {
  servers.set(request.testName, overHttp(request));
  return tunnel;
});
process.exit();
