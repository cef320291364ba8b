import type { DescMethod } from "@bufbuild/protobuf";
import type { ContextValues, Interceptor, MethodImplSpec } from "@connectrpc/connect";
import type { Stream } from "../flow/stream.js";
import type { Malformed } from "../wire/decode.js";
import type { HeaderList } from "../wire/frame.js";
import type { Shutdown } from "./shutdown.js";

/** A call before a message of it is read. */
export interface ArrivedCall {
  readonly method: DescMethod;
  /** As "/package.Service/Method". */
  readonly path: string;
  readonly header: Headers;
  readonly stream: Pick<Stream, "usage">;
  /** Aborts when the call is given up, runs out of time or is over. */
  readonly signal: AbortSignal;
}

/** What lets a call in. */
export interface Admitted {
  /** What the handler and its interceptors find in their context. */
  readonly values?: ContextValues;
  /** Told once, when the call is answered or given up: 0, or the code of its failure. */
  readonly ended?: (code: number) => void;
  /** What every answer carries, failures too. */
  readonly header?: HeaderList;
}

/** Lets a call in, or throws what it is answered. */
export type Admit = (call: ArrivedCall) => Admitted | Promise<Admitted>;

/** A method that is served. */
export interface Served {
  readonly spec: MethodImplSpec;
  readonly next: Next | undefined;
  readonly shutdown: Shutdown | undefined;
  readonly maxTimeoutMs: number;
  readonly malformed: Malformed | undefined;
}

export type Next = ReturnType<Interceptor>;
export type Request = Parameters<Next>[0];
export type Response = Awaited<ReturnType<Next>>;
