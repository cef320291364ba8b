import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { jsonWith, sendAnyInJson } from "../internal/any-in-json.js";
import type { FetchOptions, WebTransportOptions } from "./web.js";

/** What few pages ask for, so that the others do not carry it: gRPC-Web, JSON, and reads as HTTP GET. */
export function rareTransport(
  { interceptors, ...shared }: FetchOptions,
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
