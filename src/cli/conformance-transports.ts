import type { Transport } from "@connectrpc/connect";
import { createNodeTransport, createTunnelTransport, type NodeTransportOptions } from "../node.js";

type ClosableTransport = Transport & { close(): Promise<void> };

/** A protocol over a version of HTTP. */
export interface TransportChoice {
  /** The name in reports. */
  readonly name: string;
  readonly dial: (url: string) => ClosableTransport;
  /** The kinds of streams that it carries besides server streams. */
  readonly streams: readonly ("upload" | "duplex")[];
}

export const PROTOCOLS = ["connect", "grpc", "grpc-web", "tunnel"] as const;
export const HTTP_VERSIONS = ["1.1", "2"] as const;

type Protocol = (typeof PROTOCOLS)[number];
type HttpVersion = (typeof HTTP_VERSIONS)[number];

/** The combinations of these protocols and versions. gRPC needs HTTP/2; the tunnel does not depend on the version. */
export function transportsFor(
  protocols: readonly Protocol[],
  versions: readonly HttpVersion[],
): TransportChoice[] {
  return protocols.flatMap((protocol): TransportChoice[] => {
    if (protocol === "tunnel") {
      return [{ name: protocol, dial: (url) => createTunnelTransport(url), streams: ["upload", "duplex"] }];
    }
    const spoken = versions.filter((version) => protocol !== "grpc" || version === "2");
    return spoken.map((httpVersion) => transportFor(protocol, httpVersion));
  });
}

function transportFor(protocol: Exclude<Protocol, "tunnel">, httpVersion: HttpVersion): TransportChoice {
  const options: NodeTransportOptions = { protocol, httpVersion };
  return {
    name: httpVersion === "2" ? protocol : `${protocol} over HTTP/1.1`,
    dial: (url) => createNodeTransport(url, options),
    // Over HTTP/1.1 a client reads no response before its request has ended.
    streams: httpVersion === "2" ? ["upload", "duplex"] : ["upload"],
  };
}
