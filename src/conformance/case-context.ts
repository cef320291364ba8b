import type { DescService } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { expectManyListeners } from "../lib/max-listeners.js";
import { randomId } from "../lib/random-id.js";
import { sleep } from "../rpc/sleep.js";
import type { TunnelTransport } from "../tunnel.js";
import { type RecordedCall, recordCalls } from "./recorder.js";
import type { Stores } from "./stores.js";
import type { Target } from "./target.js";

/** The tools of one case: a transport, names of its own, and cleanup. */
export interface CaseContext {
  /** The transport to the server. It records calls for the report. */
  readonly transport: Transport;
  /** The names of the server's stores. */
  readonly stores: Stores;
  /** `name` with a prefix that is unique to this case, so that cases do not share data. */
  own(name: string): string;
  /** The generated client of `service`. */
  client<S extends DescService>(service: S, transport?: Transport): Client<S>;
  /** Opens the transport of a second client. Needs "second client". */
  second(): Promise<Transport>;
  /** Opens a tunnel through which the server can call the app `appId`. Needs "app". */
  dialIn(appId: string): TunnelTransport;
  /** Waits, or moves the server's clock, by `ms`. Needs "time". */
  pass(ms: number): Promise<void>;
  /** Calls `clean` after the case, in reverse order. Its errors are ignored. */
  after(clean: () => unknown): void;
}

/** Creates the context of one case on `target`. `calls` are the recorded calls; `clear` cleans up. */
export function openCaseContext(target: Target): {
  bench: CaseContext;
  calls: RecordedCall[];
  clear(): Promise<void>;
} {
  const calls: RecordedCall[] = [];
  const cleaning: (() => unknown)[] = [];
  const mark = `conformance-${randomId().slice(0, 12)}-`;
  const caseEnd = new AbortController();
  expectManyListeners(caseEnd.signal);
  const transport = recordCalls(cancelWith(caseEnd.signal, target.transport), calls);
  const after = (clean: () => unknown) => void cleaning.push(clean);
  const context: CaseContext = {
    transport,
    stores: target.stores,
    own: (name) => mark + name,
    client: (service, other = transport) => createClient(service, other),
    async second() {
      if (!target.second) throw new TypeError('the case lacks the need "second client"');
      const other = await target.second();
      after(() => other.close());
      return recordCalls(cancelWith(caseEnd.signal, other.transport), calls);
    },
    dialIn(appId) {
      if (!target.dialIn) throw new TypeError('the case lacks the need "app"');
      const tunnel = target.dialIn(appId);
      after(() => tunnel.close());
      return tunnel;
    },
    pass: async (ms) => (target.passTime ? target.passTime(ms) : sleep(ms)),
    after,
  };
  return {
    bench: context,
    calls,
    async clear() {
      // If the server or the transport is gone, there is nothing to clean up.
      for (const clean of cleaning.reverse()) await Promise.resolve(clean()).catch(() => {});
      // An open subscription would take events of other cases. On some servers it also blocks every publisher.
      caseEnd.abort(new ConnectError("the case is over", Code.Canceled));
    },
  };
}

/** Wraps `transport`: cancels all open calls when `caseEnd` aborts. */
function cancelWith(caseEnd: AbortSignal, transport: Transport): Transport {
  const either = (signal?: AbortSignal) => (signal ? AbortSignal.any([signal, caseEnd]) : caseEnd);
  return {
    unary: (method, signal, ...rest) => transport.unary(method, either(signal), ...rest),
    stream: (method, signal, ...rest) => transport.stream(method, either(signal), ...rest),
  };
}
