import type { DescMethod } from "@bufbuild/protobuf";
import type { ContextValues, Interceptor, MethodImplSpec } from "@connectrpc/connect";
import type { Stream } from "../flow/stream.js";
import type { ToDecodeError } from "../wire/decode.js";
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
export interface AdmittedCall {
  /** What the handler and its interceptors find in their context. */
  readonly values?: ContextValues;
  /** Told once, when the call is answered or given up: 0, or the code of its failure. */
  readonly onEnd?: (code: number) => void;
  /** What every answer carries, failures too. */
  readonly header?: HeaderList;
}

/** Lets a call in, or throws what it is answered. */
export type Admit = (call: ArrivedCall) => AdmittedCall | Promise<AdmittedCall>;

/** A method that is served. */
export interface ServedMethod {
  readonly spec: MethodImplSpec;
  readonly next: InterceptorNext | undefined;
  readonly shutdown: Shutdown | undefined;
  readonly maxTimeoutMs: number;
  readonly malformed: ToDecodeError | undefined;
}

export type InterceptorNext = ReturnType<Interceptor>;
export type InterceptedRequest = Parameters<InterceptorNext>[0];
export type InterceptedResponse = Awaited<ReturnType<InterceptorNext>>;
