import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  appendHeaders,
  Code,
  ConnectError,
  createContextValues,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import {
  compressedFlag,
  createEnvelopeReadableStream,
  createMethodUrl,
  encodeEnvelope,
  runStreamingCall,
  runUnaryCall,
} from "@connectrpc/connect/protocol";
import {
  endStreamFlag,
  endStreamFromJson,
  errorFromJson,
  requestHeader,
  trailerDemux,
  validateResponse,
} from "@connectrpc/connect/protocol-connect";

export interface ConnectFetchOptions {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  readonly interceptors: Interceptor[];
  readonly defaultTimeoutMs?: number | undefined;
}

/**
 * Connect over fetch in the binary form: what connect-web's transport does, from the same parts, without its JSON
 * form, which is a sixth of a small bundle. Takes unary calls and streams from the server.
 */
export function connectOverFetch(options: ConnectFetchOptions): Transport {
  const { baseUrl, interceptors, defaultTimeoutMs } = options;
  const deadline = (timeoutMs: number | undefined): number | undefined =>
    timeoutMs === undefined ? defaultTimeoutMs : timeoutMs <= 0 ? undefined : timeoutMs;
  const post = (req: { url: string; header: Headers; signal: AbortSignal }, body: Uint8Array) => {
    const { url, header: headers, signal } = req;
    return options.fetch(url, { method: "POST", redirect: "error", headers, signal, body: body as BodyInit });
  };

  return {
    unary(method, signal, givenMs, header, message, contextValues = createContextValues()) {
      const timeoutMs = deadline(givenMs);
      return runUnaryCall({
        interceptors,
        ...(signal && { signal }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        req: {
          stream: false,
          service: method.parent,
          method,
          requestMethod: "POST",
          url: createMethodUrl(baseUrl, method),
          header: requestHeader(method.methodKind, true, timeoutMs, header, false),
          contextValues,
          message,
        },
        async next(req) {
          const response = await post(req, encoded(method.input, req.message));
          const { isUnaryError, unaryError } = validateResponse(
            "unary",
            true,
            response.status,
            response.headers,
          );
          const [header, trailer] = trailerDemux(response.headers);
          if (isUnaryError)
            throw errorFromJson(await response.json(), appendHeaders(header, trailer), unaryError);
          const message = decoded(method.output, new Uint8Array(await response.arrayBuffer()));
          return { stream: false, service: method.parent, method, header, message, trailer };
        },
      });
    },

    stream(method, signal, givenMs, header, message, contextValues = createContextValues()) {
      const timeoutMs = deadline(givenMs);
      return runStreamingCall({
        interceptors,
        ...(signal && { signal }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        req: {
          stream: true,
          service: method.parent,
          method,
          requestMethod: "POST",
          url: createMethodUrl(baseUrl, method),
          header: requestHeader(method.methodKind, true, timeoutMs, header, false),
          contextValues,
          message,
        },
        async next(req) {
          const first = await req.message[Symbol.asyncIterator]().next();
          if (first.done) throw new ConnectError("missing request message", Code.Internal);
          const response = await post(req, encodeEnvelope(0, encoded(method.input, first.value)));
          validateResponse(method.methodKind, true, response.status, response.headers);
          const { body, headers: header } = response;
          if (!body) throw new ConnectError("missing response body", Code.Internal);
          const trailer = new Headers();
          const message = messages(method.output, body, header, trailer, req.signal);
          return { ...req, header, trailer, message };
        },
      });
    },
  };
}

/** The messages of a streamed answer; its end fills `trailer`, or throws the error that it carries. */
async function* messages<O extends DescMessage>(
  output: O,
  body: ReadableStream<Uint8Array>,
  header: Headers,
  trailer: Headers,
  signal: AbortSignal,
): AsyncGenerator<MessageShape<O>> {
  const reader = createEnvelopeReadableStream(body).getReader();
  let ended = false;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const { flags, data } = part.value;
    if (flags & compressedFlag) {
      throw new ConnectError("protocol error: received unsupported compressed output", Code.Internal);
    }
    if (flags & endStreamFlag) {
      const { error, metadata } = endStreamFromJson(data);
      header.forEach((value, name) => void error?.metadata.append(name, value));
      if (error) throw error;
      metadata.forEach((value, name) => void trailer.set(name, value));
      ended = true;
    } else {
      yield decoded(output, data);
    }
  }
  // Not every runtime's read() rejects where the signal had aborted before the first one.
  signal.throwIfAborted();
  if (!ended) throw new ConnectError("missing EndStreamResponse", Code.Unknown);
}

function encoded<I extends DescMessage>(schema: I, message: MessageShape<I>): Uint8Array {
  return serializing("serialize", () => toBinary(schema, message));
}

function decoded<O extends DescMessage>(schema: O, bytes: Uint8Array): MessageShape<O> {
  return serializing("parse", () => fromBinary(schema, bytes));
}

/** What does not fit the schema fails with Connect's own words for it. */
function serializing<T>(what: "serialize" | "parse", run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new ConnectError(`${what} binary: ${(error as Error).message}`, Code.Internal);
  }
}
