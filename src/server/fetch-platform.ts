import { Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { processEnvironment } from "../gossip/environment.js";
import { envelopesFit } from "../rpc/envelopes.js";
import { fetchOrUnavailable } from "../rpc/fetch-unavailable.js";
import { isBeyondFetch, type Platform } from "./context.js";

/** A runtime of which nothing is known but that it has fetch. */
export const fetchPlatform: Platform = {
  dial(baseUrl, protocol, interceptors = []) {
    const options = {
      baseUrl,
      useBinaryFormat: true,
      interceptors: [...interceptors],
      fetch: fetchOrUnavailable(async () => ({ envelopesFit })),
    };
    if (protocol === "connect") return createConnectTransport(options);
    if (protocol === "grpc-web") return createGrpcWebTransport(options);
    throw new TypeError(`Cannot call ${baseUrl} by gRPC: this runtime has fetch only, which cannot speak it`);
  },
  async fetch(url, init) {
    if (!isBeyondFetch(init)) return fetch(url, init);
    const request = init.method === "TRACE" ? "TRACE" : `${init.method} with a body`;
    throw new ConnectError(`this runtime's fetch cannot send ${request}`, Code.Unimplemented);
  },
  env: {},
  environment: processEnvironment,
  readFile: async (path) => {
    throw new TypeError(`Cannot read "${path}": this runtime has no files`);
  },
  memory: () => ({}),
};
