import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { jsonWith, sendAnyInJson } from "../internal/any-in-json.js";
import type { ConnectFetchOptions } from "./connect-fetch.js";
import type { WebTransportOptions } from "./web.js";

/** What few pages ask for, from connect-web: gRPC-Web, JSON, and reads as HTTP GET. */
export function overConnectWeb(
  { interceptors, ...shared }: ConnectFetchOptions,
  { protocol, json = false, registry, useHttpGet = false }: WebTransportOptions,
): Transport {
  const create = protocol === "grpc-web" ? createGrpcWebTransport : createConnectTransport;
  return create({
    ...shared,
    useBinaryFormat: !json,
    jsonOptions: jsonWith(registry),
    useHttpGet,
    interceptors: json ? [...interceptors, sendAnyInJson] : interceptors,
  });
}
