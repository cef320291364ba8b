import type { DescMethod } from "@bufbuild/protobuf";
import type {
  ConnectError,
  ConnectRouterOptions,
  ContextValues,
  Interceptor,
  MethodImplSpec,
} from "@connectrpc/connect";
import type { StoppableCalls } from "./stoppable-calls.js";

/** Counts the bytes of a call that the server holds. */
export interface CallBytes {
  /** The method that is called, as "/package.Service/Method". */
  readonly path: string;
  /** `change` more bytes (fewer, if negative) of incomplete messages are held; returns the limit that this exceeds. */
  addArriving(change: number): ConnectError | undefined;
  /** `change` more bytes (fewer, if negative) of the response are held. */
  addLeaving(change: number): void;
}

/** A call of which only the headers have arrived. */
export interface ArrivedCall {
  readonly method: DescMethod;
  /** As "/package.Service/Method". */
  readonly path: string;
  readonly protocolName: string;
  readonly header: Headers;
  /** Sent with the response, also if it is an error. */
  readonly responseHeader: Headers;
  /** Aborts when the call is canceled, times out or has ended. Created when it is read. */
  readonly signal: AbortSignal;
  /** Why the signal has aborted, or will if it is created; undefined: it has not. */
  readonly abortReason: unknown;
  /** Counts the call's bytes from now on. */
  usage: CallBytes | undefined;
}

/** The outcome of admitting a call. */
export interface AdmittedCall {
  /** The context values of the handler and its interceptors. */
  readonly values?: ContextValues;
  /** Called once, when the call has ended: 0, or the code of its error. */
  readonly onEnd?: (code: number) => void;
  /** Sent with every response, errors too. */
  readonly header?: readonly (readonly [name: string, value: string])[];
}

/** Admits a call before its body is read, or throws the error to respond with. */
export type Admit = (call: ArrivedCall) => AdmittedCall | Promise<AdmittedCall>;

/** A method of the served routes. */
export interface ServedMethod {
  readonly spec: MethodImplSpec;
  /** The interceptors around the handler, composed once; undefined if there are none. */
  readonly next: InterceptorNext | undefined;
  readonly shutdown: StoppableCalls | undefined;
  readonly maxTimeoutMs: number;
  /** The router's options with those of the method. */
  readonly options: ConnectRouterOptions;
}

export type InterceptorNext = ReturnType<Interceptor>;
export type InterceptedRequest = Parameters<InterceptorNext>[0];
export type InterceptedResponse = Awaited<ReturnType<InterceptorNext>>;
