import type { DescMethod } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import { sendRefusal } from "../access/refusal.js";
import type { Limits } from "../config/config.js";
import { exhausted } from "../errors.js";
import { Arrival, Departure, inspectChunks, isEnveloped, tooLarge } from "./byte-accounting.js";
import { VERSION } from "./error-mapping.js";
import { hasMalformedQuery, isMalformed, malformed, readMalformed } from "./malformed.js";
import { messageSize } from "./message-size.js";
import { noteRefusal } from "./observe.js";
import { type CallGroup, type CallUsage, Shares } from "./shares.js";
import type { Usage } from "./usage.js";
import { wrapHandlers } from "./wrap-handlers.js";

/** What the calls of one connection have in common, on the doors that have connections. */
export interface Connection {
  /** What they use of the limits together. */
  readonly usage: Usage;
  /** Whether it is one more than there may be: all of its calls are refused. */
  readonly isExtra: boolean;
  /** Something uses it from now on, besides the requests that its door sees. */
  begin?(): void;
  /** That is over. */
  end?(): void;
  /** Closes it in the way of its protocol. */
  close?: () => void;
}

/** The connection that a call came by, in its context values. */
export const connectionKey: ContextKey<Connection | undefined> = createContextKey(undefined);

/** What has arrived of a call's next message, in its context values. */
const arrivalKey: ContextKey<Arrival | undefined> = createContextKey(undefined);

/** What a call uses of the limits, in its context values. */
const usageKey: ContextKey<CallUsage | undefined> = createContextKey(undefined);

/** The same, of calls whose answers are counted until they are sent. */
const roomKey: ContextKey<CallUsage | undefined> = createContextKey(undefined);

type Routes = (router: ConnectRouter) => void;

/** Server-wide limits on open calls and buffered bytes, checked before a body is read and while it is read. */
export interface Admission {
  /** `routes`, with the calls that would pass a limit refused. `group`: whose calls they are. Default: trusted ones. */
  limited(routes: Routes, group?: GroupOf): Routes;
  /** `routes` behind the access gate: calls whose caller is known now, `subjectOf` tells, count to that subject. */
  shared(routes: Routes, subjectOf: (values: ContextValues) => string | undefined): Routes;
  /** Counts one call that comes by no HTTP handler, until it is closed. Throws a refusal. */
  enter(call: { method: DescMethod; header: Headers }, connection: Connection, group: GroupOf): CallUsage;
  /** The same as `shared` for such a call: it counts to that subject. Throws a refusal. */
  identified(usage: CallUsage, subject: string | undefined): void;
  /** Notes in the context of a call that comes by no HTTP handler what it uses. */
  note(values: ContextValues, usage: CallUsage): void;
  /** What stands against a message of so many bytes. */
  checkMessage(bytes: number): ConnectError | undefined;
  /** Notes which messages have arrived whole, makes answers wait for room, and names the limit that a message was too large for. */
  readonly interceptor: Interceptor;
}

/** Whose calls of a method with these headers are, before their caller is known. */
export type GroupOf = (method: DescMethod, header: Headers) => CallGroup;

export function createAdmission(limits: Limits): Admission {
  const shares = new Shares(limits);

  /** Counts one more call, or tells what stands against it. */
  const take = (header: Headers, connection: Connection | undefined, group: CallGroup) => {
    const { connections, headerBytes, messageBytes } = limits;
    if (connection?.isExtra)
      return exhausted("connections", connections, "as many are open without this one");
    const bytes = sizeOf(header);
    if (bytes > headerBytes) return exhausted("headerBytes", headerBytes, `the headers have ${bytes} bytes`);
    const length = header.get("content-length");
    if (!isEnveloped(header) && Number(length) > messageBytes) return tooLarge(messageBytes, length);
    return shares.open(connection?.usage, group);
  };

  const refused = (request: UniversalServerRequest, refusal: ConnectError) => {
    noteRefusal(request.contextValues, refusal.code);
    refusal.metadata.set(SERVER_HEADER, VERSION);
    return sendRefusal(request, refusal);
  };

  const limit = (handler: UniversalHandler, group: GroupOf) => async (request: UniversalServerRequest) => {
    const contextValues = request.contextValues ?? createContextValues();
    const connection = contextValues.get(connectionKey);
    const usage = take(request.header, connection, group(handler.method, request.header));
    if (usage instanceof ConnectError) return refused({ ...request, contextValues }, usage);
    if (request.method === "GET" && hasMalformedQuery(request.url)) {
      usage.close();
      return refused({ ...request, contextValues }, malformed(handler.method.input, undefined));
    }
    const arrival: Arrival = new Arrival(request.header, limits.messageBytes, (change) => {
      const refusal = usage.addArriving(change);
      if (!refusal) return;
      // What has come of it is of no use any more, however long its client goes on to send.
      arrival.end();
      throw refusal;
    });
    const departure = new Departure((change) => usage.addLeaving(change));
    const over = () => {
      arrival.end();
      departure.end();
      usage.close();
      request.signal.removeEventListener("abort", over);
    };
    if (request.signal.aborted) over();
    else request.signal.addEventListener("abort", over);
    contextValues.set(arrivalKey, arrival);
    // Where there are no connections, nobody tells when an answer has been sent.
    if (connection) contextValues.set(roomKey, usage);
    const counted = {
      ...request,
      contextValues: contextValues.set(usageKey, usage),
      body: isBytes(request.body) ? inspectChunks(request.body, (chunk) => arrival.add(chunk)) : request.body,
    };
    try {
      const response = await readable(await handler(counted), handler.method, arrival, request);
      // Where there are connections, the signal aborts when the answer is sent as well.
      return connection ? departure.of(response) : ended(response, over);
    } catch (error) {
      over();
      throw error;
    }
  };

  /** The response; where it says that the one message could not be read, the refusal of it. */
  const readable = async (
    response: UniversalServerResponse,
    method: DescMethod,
    arrival: Arrival,
    request: UniversalServerRequest,
  ): Promise<UniversalServerResponse> => {
    if (method.methodKind !== "unary" || !arrival.isAtFirst) return response;
    const read = await readMalformed(response);
    if (!read.isMalformed) return read.response;
    return refused(request, malformed(method.input, arrival.firstMessage()));
  };

  const identify: Admission["identified"] = (usage, subject) => {
    const refusal = subject === undefined ? undefined : usage.identified(subject);
    if (refusal) throw refusal;
  };

  return {
    limited: (routes, group = () => "trusted") => wrapHandlers(routes, (handler) => limit(handler, group)),
    shared: (routes, subjectOf) =>
      wrapHandlers(routes, (handler) => async (request) => {
        const values = request.contextValues;
        const usage = values?.get(usageKey);
        if (!values || !usage) return handler(request);
        const subject = subjectOf(values);
        const refusal = subject === undefined ? undefined : usage.identified(subject);
        return refusal ? refused(request, refusal) : handler(request);
      }),
    enter({ method, header }, connection, group) {
      const usage = take(header, connection, group(method, header));
      if (usage instanceof ConnectError) throw usage;
      return usage;
    },
    identified: identify,
    note: (values, usage) => void values.set(roomKey, usage),
    checkMessage: (bytes) => (bytes > limits.messageBytes ? tooLarge(limits.messageBytes, bytes) : undefined),
    interceptor: (next) => async (request) => {
      const arrival = request.contextValues.get(arrivalKey);
      const usage = request.contextValues.get(roomKey);
      if (!request.stream) arrival?.whole();
      const response = await next(request.stream ? wholeMessages(request, arrival, limits) : request);
      return usage ? withRoom(response, usage, request.signal) : response;
    },
  };
}

/** The request, whose messages are told of as they are whole. */
function wholeMessages(request: StreamRequest, arrival: Arrival | undefined, limits: Limits): StreamRequest {
  const { message } = request;
  const whole = async function* () {
    try {
      for await (const part of message) {
        arrival?.whole();
        yield part;
      }
    } catch (error) {
      if (isMalformed(error)) throw malformed(request.method.input, arrival?.firstMessage());
      throw isTooLarge(error) ? tooLarge(limits.messageBytes) : error;
    }
  };
  return { ...request, message: whole() };
}

/** The response, each of whose messages waits until there is room for its bytes. */
async function withRoom<R extends UnaryResponse | StreamResponse>(
  response: R,
  usage: CallUsage,
  signal: AbortSignal,
): Promise<R> {
  if (!response.stream) {
    await usage.room(messageSize(response.message), signal);
    return response;
  }
  const { message } = response;
  const spaced = async function* () {
    for await (const part of message) {
      await usage.room(messageSize(part), signal);
      yield part;
    }
  };
  return { ...response, message: spaced() };
}

/** What a header weighs beside its name and value, as HTTP/2 counts. */
const HEADER_OVERHEAD_BYTES = 32;

function sizeOf(header: Headers): number {
  let bytes = 0;
  header.forEach((value, name) => {
    bytes += name.length + value.length + HEADER_OVERHEAD_BYTES;
  });
  return bytes;
}

/** Connect refuses a message itself once it sees its length, by the name of its own option. */
const isTooLarge = (error: unknown): boolean =>
  error instanceof ConnectError &&
  error.code === Code.ResourceExhausted &&
  /readMaxBytes/.test(error.rawMessage);

const isBytes = (body: UniversalServerRequest["body"]): body is AsyncIterable<Uint8Array> =>
  typeof body === "object" && body !== null && Symbol.asyncIterator in body;

/** `response`, with `over` called when nothing more is read of it. */
function ended(response: UniversalServerResponse, over: () => void): UniversalServerResponse {
  const { body } = response;
  if (!body) {
    over();
    return response;
  }
  const told = async function* () {
    try {
      yield* body;
    } finally {
      over();
    }
  };
  return { ...response, body: told() };
}
