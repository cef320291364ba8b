import type { DescService } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { expectManyListeners } from "../lib/max-listeners.js";
import { randomId } from "../lib/random-id.js";
import { sleep } from "../rpc/sleep.js";
import type { TunnelTransport } from "../tunnel.js";
import { type RecordedCall, recordCalls } from "./recorder.js";
import type { Stores } from "./stores.js";
import type { Target } from "./target.js";

/** What a case works with. */
export interface CaseContext {
  /** The way to the server; what goes through it is remembered for the report. */
  readonly transport: Transport;
  /** What the server calls its stores. */
  readonly stores: Stores;
  /** A name that is this case's own, so that cases never meet each other's data. */
  own(name: string): string;
  /** The generated client of `service`. */
  client<S extends DescService>(service: S, transport?: Transport): Client<S>;
  /** Another client's way to the same server. Needs "second client". */
  second(): Promise<Transport>;
  /** A tunnel of the app `appId`, on which the server can call it. Needs "app". */
  dialIn(appId: string): TunnelTransport;
  /** Lets `ms` pass for the server. Needs "time". */
  pass(ms: number): Promise<void>;
  /** Does `clean` once the case is over, the last one first; that it fails is no one's loss. */
  after(clean: () => unknown): void;
}

/** A bench on `target`, what went through it, and the way to clear it away. */
export function openCaseContext(target: Target): {
  bench: CaseContext;
  calls: RecordedCall[];
  clear(): Promise<void>;
} {
  const calls: RecordedCall[] = [];
  const cleaning: (() => unknown)[] = [];
  const mark = `conformance-${randomId().slice(0, 12)}-`;
  const left = new AbortController();
  expectManyListeners(left.signal);
  const transport = recordCalls(cancelWith(left.signal, target.transport), calls);
  const after = (clean: () => unknown) => void cleaning.push(clean);
  const bench: CaseContext = {
    transport,
    stores: target.stores,
    own: (name) => mark + name,
    client: (service, way = transport) => createClient(service, way),
    async second() {
      if (!target.second) throw new TypeError('the case lacks the need "second client"');
      const way = await target.second();
      after(() => way.close());
      return recordCalls(cancelWith(left.signal, way.transport), calls);
    },
    dialIn(appId) {
      if (!target.dialIn) throw new TypeError('the case lacks the need "app"');
      const way = target.dialIn(appId);
      after(() => way.close());
      return way;
    },
    pass: async (ms) => (target.passTime ? target.passTime(ms) : sleep(ms)),
    after,
  };
  return {
    bench,
    calls,
    async clear() {
      // A server that is gone, or a way that is closed, leaves nothing to clear.
      for (const clean of cleaning.reverse()) await Promise.resolve(clean()).catch(() => {});
      // A subscription that is left open takes events from others, and on some servers holds up every publisher.
      left.abort(new ConnectError("the case is over", Code.Canceled));
    },
  };
}

/** `transport`, of which every call that is under way when `over` aborts is cancelled. */
function cancelWith(over: AbortSignal, transport: Transport): Transport {
  const either = (signal?: AbortSignal) => (signal ? AbortSignal.any([signal, over]) : over);
  return {
    unary: (method, signal, ...rest) => transport.unary(method, either(signal), ...rest),
    stream: (method, signal, ...rest) => transport.stream(method, either(signal), ...rest),
  };
}
