import { readFile } from "node:fs/promises";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { processEnvironment } from "../gossip/environment.js";
import { httpRequest } from "../node-http/http-request.js";
import { Http2Sessions } from "../node-http/http2-sessions.js";
import { isBeyondFetch, type Platform } from "./context.js";

/** Node for the services of a server: every protocol, the environment variables, and files. */
export const nodePlatform: Platform = {
  dial(baseUrl, protocol, interceptors = []) {
    const sessionManager = new Http2Sessions(baseUrl);
    const create = {
      grpc: createGrpcTransport,
      "grpc-web": createGrpcWebTransport,
      connect: createConnectTransport,
    };
    const transport = create[protocol]({
      baseUrl,
      httpVersion: "2",
      sessionManager,
      interceptors: [...interceptors, sessionManager.interceptor],
    });
    return { ...transport, [Symbol.asyncDispose]: async () => sessionManager.close() };
  },
  fetch: (url, init) => (isBeyondFetch(init) ? httpRequest(url, init) : fetch(url, init)),
  env: process.env,
  environment: processEnvironment,
  readFile: (path) => readFile(path, "utf8"),
  memory() {
    const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
    return {
      process_resident_memory_bytes: rss,
      nodejs_heap_size_total_bytes: heapTotal,
      nodejs_heap_size_used_bytes: heapUsed,
      nodejs_external_memory_bytes: external,
    };
  },
};
