import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextKey,
  createContextKey,
  createContextValues,
  type Interceptor,
} from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { refuse } from "./access/refusal.js";
import { SERVER_HEADER, VERSION } from "./answers.js";
import { noteRefusal } from "./calls.js";
import type { Limits } from "./config.js";
import { exhausted } from "./faults.js";
import { throughEach } from "./through-each.js";
import { Arrival, Departure, isEnveloped, shown, tooLarge } from "./transit.js";

/** What the calls of one connection have in common, on the doors that have connections. */
export interface Connection {
  /** How many of its calls are open. */
  calls: number;
  /** Whether it is one more than there may be: all of its calls are refused. */
  readonly isExtra: boolean;
}

/** The connection that a call came by, in its context values. */
export const connectionKey: ContextKey<Connection | undefined> = createContextKey(undefined);

/** What has arrived of a call's next message, in its context values. */
const arrivalKey: ContextKey<Arrival | undefined> = createContextKey(undefined);

type Routes = (router: ConnectRouter) => void;

/** The door before all others: what calls may take together, before anything is read of them and while it is read. */
export interface Admission {
  /** `routes`, with the calls that would pass a limit refused. */
  limited(routes: Routes): Routes;
  /** Counts one call that comes by no HTTP handler, until `leave` is called. Throws a refusal. */
  enter(header: Headers, connection: Connection): { leave(): void };
  /** What stands against so many bytes more of messages that are not whole. */
  arriving(change: number): ConnectError | undefined;
  /** Counts so many bytes more, or fewer, of answers that their callers have no room for. */
  leaving(change: number): void;
  /** What stands against a message of so many bytes. */
  checkMessage(bytes: number): ConnectError | undefined;
  /** Notes which messages have arrived whole, and names the limit that one was too large for. */
  readonly interceptor: Interceptor;
}

export function createAdmission(limits: Limits): Admission {
  let open = 0;
  let arriving = 0;
  let leaving = 0;
  const onLeaving = (change: number) => {
    leaving += change;
  };
  const countArriving = (change: number) => {
    arriving += change;
    if (change <= 0 || arriving <= limits.arrivingBytes) return undefined;
    return exhausted(
      "arrivingBytes",
      limits.arrivingBytes,
      "so much has arrived of messages that are not whole",
    );
  };
  const onArriving = (change: number) => {
    const refusal = countArriving(change);
    if (refusal) throw refusal;
  };

  /** What stands against one more call. */
  const against = (
    request: Pick<UniversalServerRequest, "header">,
    connection?: Connection,
  ): ConnectError | undefined => {
    const { connections, connectionStreams, streams, headerBytes, messageBytes } = limits;
    if (connection?.isExtra)
      return exhausted("connections", connections, "as many are open without this one");
    const bytes = sizeOf(request.header);
    if (bytes > headerBytes) return exhausted("headerBytes", headerBytes, `the headers have ${bytes} bytes`);
    const length = request.header.get("content-length");
    if (!isEnveloped(request.header) && Number(length) > messageBytes) return tooLarge(messageBytes, length);
    if (connection && connection.calls >= connectionStreams) {
      return exhausted("connectionStreams", connectionStreams, "as many calls of this connection are open");
    }
    if (open >= streams) return exhausted("streams", streams, "as many calls of this server are open");
    if (leaving > limits.leavingBytes) {
      return exhausted("leavingBytes", limits.leavingBytes, "so much waits of answers that nobody reads");
    }
    return undefined;
  };

  const limit = (handler: UniversalHandler) => async (request: UniversalServerRequest) => {
    const contextValues = request.contextValues ?? createContextValues();
    const connection = contextValues.get(connectionKey);
    const refusal = against(request, connection);
    if (refusal) {
      noteRefusal(contextValues, refusal.code);
      refusal.metadata.set(SERVER_HEADER, VERSION);
      return refuse(request, refusal);
    }
    const arrival = new Arrival(request.header, limits.messageBytes, onArriving);
    const departure = new Departure(onLeaving);
    open++;
    if (connection) connection.calls++;
    let isOpen = true;
    const over = () => {
      if (!isOpen) return;
      isOpen = false;
      open--;
      if (connection) connection.calls--;
      arrival.end();
      departure.end();
      request.signal.removeEventListener("abort", over);
    };
    if (request.signal.aborted) over();
    else request.signal.addEventListener("abort", over);
    const counted = {
      ...request,
      contextValues: contextValues.set(arrivalKey, arrival),
      body: isBytes(request.body) ? shown(request.body, (chunk) => arrival.add(chunk)) : request.body,
    };
    try {
      const response = await handler(counted);
      // Where there are connections, the signal aborts when the answer is sent as well.
      return connection ? departure.of(response) : ended(response, over);
    } catch (error) {
      over();
      throw error;
    }
  };

  return {
    limited: (routes) => throughEach(routes, limit),
    enter(header, connection) {
      const refusal = against({ header }, connection);
      if (refusal) throw refusal;
      open++;
      connection.calls++;
      const leave = () => {
        open--;
        connection.calls--;
      };
      return { leave };
    },
    arriving: countArriving,
    leaving: onLeaving,
    checkMessage: (bytes) => (bytes > limits.messageBytes ? tooLarge(limits.messageBytes, bytes) : undefined),
    interceptor: (next) => (request) => {
      const arrival = request.contextValues.get(arrivalKey);
      if (!request.stream) {
        arrival?.whole();
        return next(request);
      }
      const { message } = request;
      const whole = async function* () {
        try {
          for await (const part of message) {
            arrival?.whole();
            yield part;
          }
        } catch (error) {
          throw isTooLarge(error) ? tooLarge(limits.messageBytes) : error;
        }
      };
      return next({ ...request, message: whole() });
    },
  };
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
