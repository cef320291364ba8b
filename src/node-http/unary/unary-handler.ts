import type { DescMessage, DescMethodUnary, JsonWriteOptions } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter, type ConnectRouterOptions } from "@connectrpc/connect";
import {
  type Compression,
  createMethodSerializationLookup,
  type MethodSerializationLookup,
  validateReadWriteMaxBytes,
} from "@connectrpc/connect/protocol";
import { createMethodTable } from "../../rpc/dispatch/method-table.js";
import type { AdmittedCall, ArrivedCall, ServedMethod } from "../../rpc/dispatch/served-method.js";
import type { Exchange, UnaryResponse } from "./exchange.js";
import { StalledResponses } from "./stalled-responses.js";
import { UnaryCall } from "./unary-call.js";
import { cannotParse, type RequestHead, termsOf, UnaryRoute } from "./unary-route.js";

export interface UnaryHandlerOptions<Connection = undefined> extends ConnectRouterOptions {
  /** Admits each call before its body is read, or throws the error to respond with. Default: all are admitted. */
  admit?: (call: ArrivedCall, connection: Connection) => AdmittedCall | Promise<AdmittedCall>;
  /** The error of a binary message that cannot be decoded. Default: Connect's. */
  malformed?: (type: DescMessage, bytes: Uint8Array, error: unknown) => ConnectError;
  /** The error of a message of so many bytes, if that is too large. Default: by `readMaxBytes`. */
  checkMessage?: (bytes: number) => ConnectError | undefined;
  /** How long a client may take nothing of a response before it is given up, in milliseconds. Default: 60,000. */
  stalledMs?: number;
  /** Called when a response was given up. Default: nothing. */
  onStalled?: (method: string, address: string) => void;
  /** Called when a response could not be sent for another reason than that its client has left. Default: nothing. */
  onBroken?: (error: unknown, method: string) => void;
}

/** A unary method, and how its messages are encoded. */
export interface HandledMethod {
  readonly path: string;
  readonly served: ServedMethod;
  readonly allowsGet: boolean;
  readonly serialization: MethodSerializationLookup<DescMessage, DescMessage>;
  readonly compressMinBytes: number;
  readonly jsonOptions: Partial<JsonWriteOptions> | undefined;
}

/** Shared by all calls of a handler. */
export interface UnaryHandlerState {
  readonly compressions: readonly Compression[];
  readonly readMaxBytes: number;
  readonly stalls: StalledResponses;
  readonly admit: UnaryHandlerOptions<never>["admit"];
  readonly onBroken: UnaryHandlerOptions["onBroken"];
  malformed(type: DescMessage, bytes: Uint8Array, error: unknown): ConnectError;
  checkMessage(bytes: number): ConnectError | undefined;
}

/** Answers unary calls over HTTP. */
export interface UnaryHandler<Connection = undefined> {
  /**
   * How a request is answered; undefined if it is not a well-formed unary call in one of the usual encodings, which is
   * then for Connect's own handlers to answer or refuse.
   */
  route(request: RequestHead): UnaryRoute | undefined;
  /** Answers a call, which `admit` gets with its `connection`. `finish` may change the headers of its response. */
  answer(
    route: UnaryRoute,
    exchange: Exchange,
    connection: Connection,
    finish?: (response: UnaryResponse) => void,
  ): void;
}

/**
 * Answers the unary calls of `routes` in Connect (POST and GET), gRPC and gRPC-Web, JSON and binary, on Node's own HTTP
 * streams. Connect's universal handlers are made for streams of messages, as async iterables of bytes with an
 * AbortController each; with one message each way, most of their time goes into that.
 */
export function createUnaryHandler<Connection = undefined>(
  routes: (router: ConnectRouter) => void,
  {
    admit,
    malformed,
    checkMessage,
    stalledMs = 60_000,
    onStalled,
    onBroken,
    ...router
  }: UnaryHandlerOptions<Connection>,
): UnaryHandler<Connection> {
  const { readMaxBytes } = validateReadWriteMaxBytes(router.readMaxBytes, router.writeMaxBytes, undefined);
  const methods = new Map<string, HandledMethod>();
  for (const [path, served] of createMethodTable(routes, router)) {
    if (served.spec.kind === "unary") methods.set(path, handledMethod(path, served));
  }
  const state: UnaryHandlerState = {
    compressions: router.acceptCompression ?? [],
    readMaxBytes,
    stalls: new StalledResponses(stalledMs, onStalled),
    admit,
    onBroken,
    malformed: malformed ?? ((_type, _bytes, error) => cannotParse(error)),
    checkMessage:
      checkMessage ??
      ((bytes) =>
        bytes <= readMaxBytes
          ? undefined
          : new ConnectError(
              `message size ${bytes} is larger than configured readMaxBytes ${readMaxBytes}`,
              Code.ResourceExhausted,
            )),
  };
  return {
    route(request) {
      const { url } = request;
      const end = url.indexOf("?");
      const method = methods.get(end < 0 ? url : url.slice(0, end));
      if (!method || (request.method === "GET" && !method.allowsGet)) return undefined;
      const terms = termsOf(request, state, method.served.maxTimeoutMs);
      return terms && new UnaryRoute(state, method, terms);
    },
    answer(route, exchange, connection, finish) {
      if (finish) route.finish = finish;
      new UnaryCall(route, exchange).start(connection as never);
    },
  };
}

function handledMethod(path: string, served: ServedMethod): HandledMethod {
  const { binaryOptions, jsonOptions, readMaxBytes, writeMaxBytes, compressMinBytes } = served.options;
  const limits = validateReadWriteMaxBytes(readMaxBytes, writeMaxBytes, compressMinBytes);
  const method = served.spec.method as DescMethodUnary;
  return {
    path,
    served,
    allowsGet: method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
    serialization: createMethodSerializationLookup(method, binaryOptions, jsonOptions, limits),
    compressMinBytes: limits.compressMinBytes,
    jsonOptions,
  };
}
