import { createRegistry } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "../../src/transport/grpc-web.js";
import { createNodeTransport, type NodeTransportOptions } from "../../src/transport/node.js";
import { createWebTransport } from "../../src/transport/web.js";
import type { ClientCompatRequest } from "./gen/connectrpc/conformance/v1/client_compat_pb.js";
import { Codec, HTTPVersion, Protocol } from "./gen/connectrpc/conformance/v1/config_pb.js";
import { file_connectrpc_conformance_v1_service } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { performAll } from "./perform.js";

// The client under test: our HTTP transports over Node's HTTP or, with "fetch", over fetch.
const registry = createRegistry(file_connectrpc_conformance_v1_service);
const overFetch = process.argv[2] === "fetch";

const PROTOCOLS: Partial<Record<Protocol, NonNullable<NodeTransportOptions["protocol"]>>> = {
  [Protocol.CONNECT]: "connect",
  [Protocol.GRPC]: "grpc",
  [Protocol.GRPC_WEB]: "grpc-web",
};

function dial(request: ClientCompatRequest): Transport {
  const { host, port, serverTlsCert, httpVersion, codec, messageReceiveLimit } = request;
  const hasTls = serverTlsCert.length > 0;
  const url = `${hasTls ? "https" : "http"}://${host}:${port}`;
  const protocol = PROTOCOLS[request.protocol];
  const json = codec === Codec.JSON;
  const readMaxBytes = messageReceiveLimit > 0 ? { readMaxBytes: messageReceiveLimit } : {};
  if (!overFetch) {
    return createNodeTransport(url, {
      ...(protocol && { protocol }),
      httpVersion: httpVersion === HTTPVersion.HTTP_VERSION_1 ? "1.1" : "2",
      json,
      registry,
      ...(hasTls && { ca: Buffer.from(serverTlsCert) }),
      ...readMaxBytes,
    });
  }
  const options = { json, registry, ...readMaxBytes };
  return protocol === "grpc-web"
    ? createGrpcWebTransport(url, options)
    : createWebTransport(url, { ...options, useHttpGet: request.useGetHttpMethod });
}

/** One transport for all calls to the same server with the same settings. */
const transports = new Map<string, Transport>();

await performAll((request) => {
  const { port, protocol, httpVersion, codec, messageReceiveLimit, useGetHttpMethod } = request;
  const key = [port, protocol, httpVersion, codec, messageReceiveLimit, useGetHttpMethod].join(" ");
  const transport = transports.get(key) ?? dial(request);
  transports.set(key, transport);
  return transport;
});
process.exit();
