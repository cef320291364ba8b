import { create, type DescMethodUnary, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { errorFromJson, errorToJson } from "@connectrpc/connect/protocol-connect";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import { canceled } from "../../../rpc/canceled.js";
import { PeerFault, type PeerMessaging } from "../../engine.js";
import { unavailable } from "../../errors.js";

type HeaderList = [name: string, value: string][];

/** What precedes the message of a forwarded call. */
interface RequestHead {
  headers: HeaderList;
  timeoutMs?: number;
}

/** What precedes the message of its answer. */
type AnswerHead =
  | { type: "answer"; headers: HeaderList }
  | { type: "error"; headers: HeaderList; error: ReturnType<typeof errorToJson> }
  /** The app is not connected to this server any more, so it was not called. */
  | { type: "not connected" };

/** The error of a call that reached no app. */
export class NotConnectedError extends Error {
  constructor() {
    super("the app is not connected there");
    this.name = "NotConnectedError";
  }
}

/**
 * Unary calls of an app through one of the servers that serve `name`: its answer with headers, and its error with code,
 * message, details and metadata. Fails as NotConnectedError if no server took the call, or no app. Calls `onLost` if the
 * server is lost during a call.
 */
export function forwardingCaller(
  peers: PeerMessaging,
  name: string,
  onLost = () => {},
): Pick<Transport, "unary"> {
  return {
    async unary(method, signal = NEVER, timeoutMs, header, input) {
      const head = { headers: [...new Headers(header)], ...(timeoutMs && { timeoutMs }) };
      const body = encode(head, toBinary(method.input, create(method.input, input)));
      const answer = await peers.request(name, body, signal).catch((error: unknown) => {
        if (signal.aborted) throw canceled(signal);
        if (error instanceof PeerFault && error.reason === "lost") onLost();
        throw callErrorOf(error);
      });
      const [{ type, ...rest }, bytes] = decode<AnswerHead>(answer);
      if (type === "not connected") throw new NotConnectedError();
      const headers = new Headers((rest as { headers: HeaderList }).headers);
      if (type === "error") {
        const fallback = new ConnectError("the app failed", Code.Unknown);
        throw errorFromJson((rest as { error: never }).error, headers, fallback);
      }
      const message = fromBinary(method.output, bytes);
      const { parent: service } = method;
      return { stream: false, service, method, header: headers, trailer: new Headers(), message };
    },
  };
}

const NEVER = new AbortController().signal;

/** Answers a call that another server has forwarded, by calling the app that `find` returns for its message. */
export async function answerForwarded<M extends DescMethodUnary>(
  method: M,
  body: Uint8Array,
  signal: AbortSignal,
  find: (message: ReturnType<typeof fromBinary<M["input"]>>) => Pick<Transport, "unary"> | undefined,
): Promise<Uint8Array> {
  const [{ headers, timeoutMs }, bytes] = decode<RequestHead>(body);
  const message = fromBinary<M["input"]>(method.input, bytes);
  const app = find(message);
  if (!app) return encode({ type: "not connected" });
  try {
    const answer = await app.unary(method, signal, timeoutMs, headers, message);
    return encode({ type: "answer", headers: [...answer.header] }, toBinary(method.output, answer.message));
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    return encode({ type: "error", headers: [...error.metadata], error: errorToJson(error, undefined) });
  }
}

function callErrorOf(error: unknown): unknown {
  if (!(error instanceof PeerFault)) return error;
  if (error.reason === "unserved") return new NotConnectedError();
  // As with one server, the connection to the app was lost during the call.
  if (error.reason === "lost") return unavailable("the server that the app is connected to was lost");
  return new ConnectError(`the call could not be forwarded: ${error.message}`, Code.Internal);
}

/** A head as JSON, with its length in four bytes before it, and a message. */
function encode(head: RequestHead | AnswerHead, message = new Uint8Array()): Uint8Array {
  const json = utf8(JSON.stringify(head));
  const encoded = new Uint8Array(4 + json.length + message.length);
  new DataView(encoded.buffer).setUint32(0, json.length);
  encoded.set(json, 4);
  encoded.set(message, 4 + json.length);
  return encoded;
}

function decode<Head>(encoded: Uint8Array): [head: Head, message: Uint8Array] {
  const end = 4 + new DataView(encoded.buffer, encoded.byteOffset).getUint32(0);
  return [JSON.parse(fromUtf8(encoded.subarray(4, end))) as Head, encoded.subarray(end)];
}
