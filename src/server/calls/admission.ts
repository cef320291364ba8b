import type { DescMethod } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
} from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { withMessage } from "../../rpc/dispatch/lazy-signal.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import { LazyHeaders } from "../../rpc/lazy-headers.js";
import { hasMalformedQuery } from "../../rpc/malformed-query.js";
import { uncopiedResponse } from "../../rpc/uncopied-messages.js";
import { sendRefusal } from "../access/refusal.js";
import type { Limits } from "../config/config.js";
import { exhausted } from "../errors.js";
import { inspectChunks, isEnveloped, RequestBytes, ResponseBytes, tooLarge } from "./byte-accounting.js";
import type { CallUsage } from "./call-usage.js";
import { type Connection, connectionKey } from "./connection.js";
import { VERSION } from "./error-mapping.js";
import { isMalformed, malformed, readMalformed } from "./malformed.js";
import { messageSize } from "./message-size.js";
import { noteRefusal } from "./observe.js";
import { type CallGroup, Shares } from "./shares.js";
import { type Handle, type Routes, wrapHandlers } from "./wrap-handlers.js";

/** The received bytes of a call, in its context values. */
const requestBytesKey: ContextKey<RequestBytes | undefined> = createContextKey(undefined);

/** The use that a call makes of the limits, in its context values. */
const usageKey: ContextKey<CallUsage | undefined> = createContextKey(undefined);

/** The same, of calls whose answers count until they are sent. */
const responseUsageKey: ContextKey<CallUsage | undefined> = createContextKey(undefined);

/** Server-wide limits on open calls and buffered bytes, checked before a body is read and while it is read. */
export interface Admission {
  /** Wraps the handlers of `routes`: calls that would exceed a limit are refused. Default group: trusted. */
  limitCalls(routes: Routes, groupOf?: GroupOf): Routes;
  /** Wraps the handlers of `routes` inside the access gate: calls with a subject now count to that subject. */
  limitSubjects(routes: Routes, subjectOf: (values: ContextValues) => string | undefined): Routes;
  /** Counts one call of a tunnel, until its usage is closed. Throws a refusal. */
  startCall(
    call: { method: DescMethod; header: Headers },
    connection: Connection,
    groupOf: GroupOf,
  ): CallUsage;
  /** Counts a call of a tunnel to its subject, if it has one. Throws a refusal. */
  identify(usage: CallUsage, subject: string | undefined): void;
  /** Makes the answers of a call of a tunnel wait for room. */
  attach(values: ContextValues, usage: CallUsage): void;
  /** The refusal of a message of so many bytes, if it is too large. */
  checkMessage(bytes: number): ConnectError | undefined;
  /** Notes which messages are complete, makes answers wait for room, and names the limit that a message exceeds. */
  readonly interceptor: Interceptor;
}

/** The group that a call with this method and these headers counts to before its caller is known. */
export type GroupOf = (method: DescMethod, header: Headers) => CallGroup;

export function createAdmission(limits: Limits): Admission {
  const shares = new Shares(limits);
  return {
    limitCalls: (routes, groupOf = () => "trusted") =>
      wrapHandlers(routes, (handler) => limitHandler(handler, groupOf, shares, limits)),
    limitSubjects: (routes, subjectOf) => wrapHandlers(routes, (handler) => limitSubject(handler, subjectOf)),
    startCall({ method, header }, connection, groupOf) {
      const usage = openCall(header, connection, groupOf(method, header), shares, limits);
      if (usage instanceof ConnectError) throw usage;
      return usage;
    },
    identify(usage, subject) {
      const refusal = subject === undefined ? undefined : usage.identify(subject);
      if (refusal) throw refusal;
    },
    attach: (values, usage) => void values.set(responseUsageKey, usage),
    checkMessage: (bytes) => (bytes > limits.messageBytes ? tooLarge(limits.messageBytes, bytes) : undefined),
    interceptor: (next) => async (request) => {
      const requestBytes = request.contextValues.get(requestBytesKey);
      const usage = request.contextValues.get(responseUsageKey);
      if (!request.stream) requestBytes?.completeMessage();
      const response = await next(request.stream ? completeMessages(request, requestBytes, limits) : request);
      if (!usage) return response;
      if (response.stream) return spaceOut(response, usage, request);
      // Most responses are small and need not wait.
      const room = usage.waitForRoom(messageSize(response.message), request);
      if (room) await room;
      return response;
    },
  };
}

/** Counts one more call, or returns its refusal. */
function openCall(
  header: Headers,
  connection: Connection | undefined,
  group: CallGroup,
  shares: Shares,
  limits: Limits,
): CallUsage | ConnectError {
  const { connections, headerBytes, messageBytes } = limits;
  if (connection?.isExtra) return exhausted("connections", connections, "as many are open without this one");
  const bytes = LazyHeaders.sizeOf(header);
  if (bytes > headerBytes) return exhausted("headerBytes", headerBytes, `the headers have ${bytes} bytes`);
  const length = header.get("content-length");
  if (!isEnveloped(header) && Number(length) > messageBytes) return tooLarge(messageBytes, length);
  return shares.open(connection?.usage, group);
}

/** Refuses calls that would exceed a limit, and counts the bytes of the others while they are read and sent. */
function limitHandler(handler: UniversalHandler, groupOf: GroupOf, shares: Shares, limits: Limits): Handle {
  const { method } = handler;
  return async (request) => {
    const contextValues = request.contextValues ?? createContextValues();
    const connection = contextValues.get(connectionKey);
    const usage = openCall(request.header, connection, groupOf(method, request.header), shares, limits);
    if (usage instanceof ConnectError) return refuse({ ...request, contextValues }, usage);
    if (request.method === "GET" && hasMalformedQuery(request.url)) {
      usage.close();
      return refuse({ ...request, contextValues }, malformed(method.input, undefined));
    }
    const { requestBytes, responseBytes, end } = countCall(request, usage, limits);
    contextValues.set(requestBytesKey, requestBytes).set(usageKey, usage);
    // Without connections, nothing reports when an answer has been sent.
    if (connection) contextValues.set(responseUsageKey, usage);
    const uncopiedBytes = () => contextValues.get(uncopiedResponse)?.pendingBytes ?? 0;
    const { body } = request;
    const counted = isBytes(body) ? inspectChunks(body, (chunk) => requestBytes.add(chunk)) : body;
    try {
      const answer = await handler({ ...request, contextValues, body: counted });
      const response = await mapMalformed(answer, method, requestBytes, request);
      // With connections, the signal aborts when the answer has been sent, too.
      return connection ? responseBytes.count(response, uncopiedBytes) : onceRead(response, end);
    } catch (error) {
      end();
      throw error;
    }
  };
}

/** Counts the bytes of a call until its signal aborts, or until `end` is called. */
function countCall(
  { header, signal }: UniversalServerRequest,
  usage: CallUsage,
  { messageBytes }: Limits,
): { requestBytes: RequestBytes; responseBytes: ResponseBytes; end(): void } {
  const requestBytes: RequestBytes = new RequestBytes(header, messageBytes, (change) => {
    const refusal = usage.addArriving(change);
    if (!refusal) return;
    // The bytes so far are of no use any more, however long the client goes on to send.
    requestBytes.end();
    throw refusal;
  });
  const responseBytes = new ResponseBytes((change) => usage.addLeaving(change));
  const end = () => {
    requestBytes.end();
    responseBytes.end();
    usage.close();
    signal.removeEventListener("abort", end);
  };
  if (signal.aborted) end();
  else signal.addEventListener("abort", end);
  return { requestBytes, responseBytes, end };
}

/** Counts a call to its subject, if it has one, or refuses it. */
function limitSubject(
  handler: UniversalHandler,
  subjectOf: (values: ContextValues) => string | undefined,
): Handle {
  return async (request) => {
    const values = request.contextValues;
    const usage = values?.get(usageKey);
    if (!values || !usage) return handler(request);
    const subject = subjectOf(values);
    const refusal = subject === undefined ? undefined : usage.identify(subject);
    return refusal ? refuse(request, refusal) : handler(request);
  };
}

function refuse(request: UniversalServerRequest, refusal: ConnectError): UniversalServerResponse {
  noteRefusal(request.contextValues, refusal.code);
  refusal.metadata.set(SERVER_HEADER, VERSION);
  return sendRefusal(request, refusal);
}

/** The response; if it says that Connect could not read the one message of the call, the refusal of that message. */
async function mapMalformed(
  response: UniversalServerResponse,
  method: DescMethod,
  requestBytes: RequestBytes,
  request: UniversalServerRequest,
): Promise<UniversalServerResponse> {
  if (method.methodKind !== "unary" || !requestBytes.isAtFirst) return response;
  const result = await readMalformed(response);
  if (!result.isMalformed) return result.response;
  return refuse(request, malformed(method.input, requestBytes.firstMessage()));
}

/** The request; notes each of its messages as complete when it is read. */
function completeMessages(
  request: StreamRequest,
  requestBytes: RequestBytes | undefined,
  limits: Limits,
): StreamRequest {
  const { message: messages } = request;
  const completed = async function* () {
    try {
      for await (const message of messages) {
        requestBytes?.completeMessage();
        yield message;
      }
    } catch (error) {
      if (isMalformed(error)) throw malformed(request.method.input, requestBytes?.firstMessage());
      throw isTooLarge(error) ? tooLarge(limits.messageBytes) : error;
    }
  };
  return withMessage(request, completed());
}

/** The response; each of its messages waits until there is room for its bytes. */
function spaceOut(
  response: StreamResponse,
  usage: CallUsage,
  request: { readonly signal: AbortSignal },
): StreamResponse {
  const { message: messages } = response;
  const delayed = async function* () {
    for await (const message of messages) {
      await usage.waitForRoom(messageSize(message), request);
      yield message;
    }
  };
  return { ...response, message: delayed() };
}

/** Whether Connect refused a message itself, once it saw its length, by the name of its own option. */
const isTooLarge = (error: unknown): boolean =>
  error instanceof ConnectError &&
  error.code === Code.ResourceExhausted &&
  /readMaxBytes/.test(error.rawMessage);

const isBytes = (body: UniversalServerRequest["body"]): body is AsyncIterable<Uint8Array> =>
  typeof body === "object" && body !== null && Symbol.asyncIterator in body;

/** The response; calls `end` once nothing more is read of it. */
function onceRead(response: UniversalServerResponse, end: () => void): UniversalServerResponse {
  const { body } = response;
  if (!body) {
    end();
    return response;
  }
  const ending = async function* () {
    try {
      yield* body;
    } finally {
      end();
    }
  };
  return { ...response, body: ending() };
}
