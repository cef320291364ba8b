import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { LogService } from "../../../gen/atomix/log/log_pb.js";
import type { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import type { MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import type { Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import type { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Primitive } from "../../server/primitives.js";
import type { Rule } from "../rules.js";
import type { Observation, Operation } from "./operations.js";

/** What answers the calls of one scenario, by method; every other call of it fails with `unimplemented`. */
export type Script = Partial<
  ServiceImpl<typeof Runtime> &
    ServiceImpl<typeof Lifecycle> &
    ServiceImpl<typeof MapService> &
    ServiceImpl<typeof LogService> &
    ServiceImpl<typeof GossipMapService>
>;

/** What the judge saw of one call. */
export interface WireCall {
  /** As the generated clients call it: "getState". */
  readonly method: string;
  /** What it came with. */
  readonly headers: Headers;
  /** The messages that came, the first 100. */
  readonly requests: readonly unknown[];
  /** When it came, in milliseconds of a clock that only goes forward. */
  readonly atMs: number;
  /** Whether the client has ended its side of a stream, rather than cut all of it. */
  readonly halfClosed: boolean;
  /** Whether the client gave it up. */
  readonly aborted: boolean;
}

/** One answer that a server may give, and what a client has to make of it. */
export interface Scenario {
  /** Its name, and the name of the store that the client has to use. */
  readonly id: string;
  /** What it is about: a primitive, or calls of any. */
  readonly primitive: Primitive | "calls";
  /** What must be so. */
  readonly sentence: string;
  /** Where it is written: a row of decisions.md, or what the existing servers do. */
  readonly rule: Rule | `Go runtime: ${string}` | `Atomix: ${string}`;
  /** Whether the answers carry Fairlead's mark. Default: as of a server that has never heard of it. */
  readonly isFairlead?: boolean;
  /** What the client is asked to do. */
  readonly operation: Operation;
  /** What it must report: one of several codes where they are all right. */
  readonly expected: Omit<Observation, "code"> & { readonly code?: string | readonly string[] };
  /** What the server does, from the first call on. */
  createScript(): Script;
  /** Fails where what came over the wire was not right. Asked again for a second, as a client may do the last of it late. */
  checkCalls?(calls: readonly WireCall[]): void;
}

/** The first messages of the calls of `method`, in the order in which they came. */
export function firstRequests<M extends DescMethod>(
  calls: readonly WireCall[],
  method: M,
): MessageShape<M["input"]>[] {
  return callsOf(calls, method).flatMap(({ requests }) => requests.slice(0, 1)) as MessageShape<M["input"]>[];
}

/** The calls of `method`. */
export const callsOf = (calls: readonly WireCall[], method: DescMethod): WireCall[] =>
  calls.filter((call) => call.method === method.localName);

/** An error as a server answers it. */
export const serverError = (
  code: Code,
  message: string,
  details?: ConstructorParameters<typeof ConnectError>[3],
) => new ConnectError(message, code, undefined, details);

/** Answers each call by the next of `answers`, and all further ones by the last; an error is thrown. */
export function respondInOrder<T>(...answers: readonly (T | ConnectError)[]): () => T {
  let turn = 0;
  return () => {
    const answer = answers[Math.min(turn++, answers.length - 1)] as T | ConnectError;
    if (answer instanceof ConnectError) throw answer;
    return answer;
  };
}

/** A message with fields that no version of the contract has: a varint, bytes and a fixed number. */
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

/** The names of all codes, as Connect writes them. */
export const CODES: readonly string[] = Object.values(Code)
  .filter((code): code is Code => typeof code === "number")
  .map(codeName);

/** As Connect writes it: "not_found". */
export function codeName(code: Code): string {
  return Code[code].replace(/[A-Z]/g, (letter, at: number) => `${at > 0 ? "_" : ""}${letter.toLowerCase()}`);
}
