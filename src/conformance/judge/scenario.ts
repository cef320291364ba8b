import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { LogService } from "../../../gen/atomix/log/log_pb.js";
import type { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import type { MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import type { Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import type { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Primitive } from "../../server/primitives.js";
import type { ConformanceRule } from "../rules.js";
import type { Observation, ScenarioOperation } from "./operations.js";

/** The handlers of one scenario, by method. Other calls of the scenario fail with `unimplemented`. */
export type Script = Partial<
  ServiceImpl<typeof Runtime> &
    ServiceImpl<typeof Lifecycle> &
    ServiceImpl<typeof MapService> &
    ServiceImpl<typeof LogService> &
    ServiceImpl<typeof GossipMapService>
>;

/** One call that the judge received. */
export interface WireCall {
  /** The local name of the method: "getState". */
  readonly method: string;
  /** The request headers. */
  readonly headers: Headers;
  /** The first 100 request messages. */
  readonly requests: readonly unknown[];
  /** The time of the call, in milliseconds of a monotonic clock. */
  readonly atMs: number;
  /** Whether the client half-closed the stream, rather than cancelled it. */
  readonly halfClosed: boolean;
  /** Whether the client cancelled the call. */
  readonly aborted: boolean;
}

/** One answer that a server may give, and what a client must do with it. */
export interface Scenario {
  /** The id, which is also the name of the store that the client must use. */
  readonly id: string;
  /** The primitive, or "calls" for calls of any. */
  readonly primitive: Primitive | "calls";
  /** The requirement as a sentence. */
  readonly sentence: string;
  /** The source of the requirement: a row of decisions.md, or the behaviour of existing servers. */
  readonly rule: ConformanceRule | `Go runtime: ${string}` | `Atomix: ${string}`;
  /** Whether responses carry the header fairlead-server. Default: false. */
  readonly isFairlead?: boolean;
  /** The task of the client. */
  readonly operation: ScenarioOperation;
  /** The report that the client must give. `code` may list several allowed codes. */
  readonly expected: Omit<Observation, "code"> & { readonly code?: string | readonly string[] };
  /** Creates the server's handlers for one run of the scenario. */
  createScript(): Script;
  /** Fails if the client's calls are wrong. Repeated until `lateMs` after the report, because calls may come late. */
  checkCalls?(calls: readonly WireCall[]): void;
}

/** The first request of each call of `method`, in order. */
export function firstRequests<M extends DescMethod>(
  calls: readonly WireCall[],
  method: M,
): MessageShape<M["input"]>[] {
  return callsOf(calls, method).flatMap(({ requests }) => requests.slice(0, 1)) as MessageShape<M["input"]>[];
}

/** The calls of `method`. */
export const callsOf = (calls: readonly WireCall[], method: DescMethod): WireCall[] =>
  calls.filter((call) => call.method === method.localName);

/** An error that the server answers with. */
export const serverError = (
  code: Code,
  message: string,
  details?: ConstructorParameters<typeof ConnectError>[3],
) => new ConnectError(message, code, undefined, details);

/** A handler that fails every call with this error. */
export const failCall = (code: Code, message: string) => (): never => {
  throw serverError(code, message);
};

/** Answers the n-th call with the n-th of `answers`, or the last one. Throws answers that are errors. */
export function respondInOrder<T>(...answers: readonly (T | ConnectError)[]): () => T {
  let turn = 0;
  return () => {
    const answer = answers[Math.min(turn++, answers.length - 1)] as T | ConnectError;
    if (answer instanceof ConnectError) throw answer;
    return answer;
  };
}

/** A message with fields that no version of the API has: a varint, bytes and a fixed32. */
export function withUnknownFields<D extends DescMessage>(
  desc: D,
  init: MessageInitShape<D>,
): MessageShape<D> {
  const message = create(desc, init);
  message.$unknown = [
    { no: 1000, wireType: 0, data: new Uint8Array([0x96, 0x01]) },
    { no: 1001, wireType: 2, data: new Uint8Array([3, 0x61, 0x62, 0x63]) },
    { no: 1002, wireType: 5, data: new Uint8Array([1, 2, 3, 4]) },
  ];
  return message;
}

/** The names of all codes in Connect's spelling. */
export const CODES: readonly string[] = Object.values(Code)
  .filter((code): code is Code => typeof code === "number")
  .map(codeName);

/** The name of a code in Connect's spelling, such as "not_found". */
export function codeName(code: Code): string {
  return Code[code].replace(/[A-Z]/g, (letter, at: number) => `${at > 0 ? "_" : ""}${letter.toLowerCase()}`);
}
