import { createRegistry } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { forwarding } from "./forward.js";
import type { ClientCompatRequest } from "./gen/connectrpc/conformance/v1/client_compat_pb.js";
import { Codec, Compression, HTTPVersion, Protocol } from "./gen/connectrpc/conformance/v1/config_pb.js";
import { ConformanceService, file_connectrpc_conformance_v1_service } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { performAll } from "./perform.js";
import { openTunnelPort } from "./tunnel-port.js";

// The client under test calls a gateway through a tunnel, which calls the runner's server over HTTP as the test says.
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

function overHttp(request: ClientCompatRequest): Transport {
  const { host, port, serverTlsCert, messageReceiveLimit, useGetHttpMethod } = request;
  const hasTls = serverTlsCert.length > 0;
  const nodeOptions = hasTls ? { ca: Buffer.from(serverTlsCert) } : {};
  const options = {
    baseUrl: `${hasTls ? "https" : "http"}://${host}:${port}`,
    httpVersion: request.httpVersion === HTTPVersion.HTTP_VERSION_1 ? "1.1" : "2",
    nodeOptions,
    useBinaryFormat: request.codec === Codec.PROTO,
    useHttpGet: useGetHttpMethod,
    readMaxBytes: messageReceiveLimit,
    jsonOptions: { registry: createRegistry(file_connectrpc_conformance_v1_service) },
    acceptCompression: [compressionGzip],
    ...(request.compression === Compression.GZIP && { sendCompression: compressionGzip }),
  } as const;
  if (request.protocol === Protocol.GRPC) return createGrpcTransport(options);
  return request.protocol === Protocol.GRPC_WEB ? createGrpcWebTransport(options) : createConnectTransport(options);
}

await performAll((request) => {
  servers.set(request.testName, overHttp(request));
  return tunnel;
});
process.exit();
