import type { Transport } from "@connectrpc/connect";
import { createNodeTransport } from "../../../src/transport/node.js";
import { createTunnelTransport } from "../../../src/transport/tunnel-node.js";
import { createGrpcWebTransport, createWebTransport } from "../../../src/web.js";

type Urls = string | readonly string[];

/** Every transport that takes several URLs. */
export const TRANSPORTS: Record<string, (urls: Urls) => Transport & AsyncDisposable> = {
  "Connect over HTTP/2": (urls) => createNodeTransport(urls),
  gRPC: (urls) => createNodeTransport(urls, { protocol: "grpc" }),
  "gRPC-Web": (urls) => createNodeTransport(urls, { protocol: "grpc-web" }),
  "Connect over HTTP/1.1": (urls) => createNodeTransport(urls, { httpVersion: "1.1" }),
  "Connect over fetch": (urls) => createWebTransport(urls),
  "gRPC-Web over fetch": (urls) => createGrpcWebTransport(urls),
  "the tunnel": (urls) => createTunnelTransport(urls),
};
