import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { GossipMapService } from "../../gen/atomix/map/map_pb.js";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { hasExtensions } from "../client/server-extensions.js";
import { FOLLOW_HEADER, LOG_HEADER } from "../rpc/extension-headers.js";
import { sleep } from "../rpc/sleep.js";
import type { TunnelTransport } from "../tunnel.js";
import type { Need } from "./needs.js";
import { storesOf } from "./store-check.js";
import { DEFAULT_STORES, type Stores } from "./stores.js";

/** A server under test, by one transport. */
export interface TargetOptions {
  /** The transport to the server. */
  transport: Transport;
  /**
   * The names of its stores. Default: those of `fairlead serve --conformance` if the server has them, otherwise those
   * of `fairlead serve`.
   *
   */
  stores?: Partial<Stores>;
  /** Kinds of streams that the transport carries beside server streams. Default: both. */
  streams?: readonly ("upload" | "duplex")[];
  /** Opens the transport of a second client. Default: cases that need it are skipped. */
  second?: () => Promise<{ transport: Transport; close(): Promise<void> }>;
  /** Opens a tunnel through which the server calls an app. Default: cases that need it are skipped. */
  dialIn?: (appId: string) => TunnelTransport;
  /** Moves the clock of a server in this process by `ms`. Default: cases wait. */
  passTime?: (ms: number) => void;
  /** Whether cases that wait for time to pass run. Default: true. */
  waits?: boolean;
}

/** A server under test, and the needs of cases that it meets. */
export interface Target extends TargetOptions {
  readonly stores: Stores;
  /** The needs of cases that are met. */
  readonly has: ReadonlySet<Need>;
}

/**
 * Probes a server for its services and extensions. Fails if it cannot be reached.
 *
 * @example
 * ```ts
 * import { cases, countResults, openTarget, run } from "fairlead/conformance";
 * import { createNodeTransport } from "fairlead/node";
 *
 * await using transport = createNodeTransport("http://localhost:34904");
 * const target = await openTarget({ transport });
 * const { results } = await run(target, cases.filter(({ primitive }) => primitive === "hello"));
 * console.log(countResults(results).failed); // 0
 * ```
 */
export async function openTarget(options: TargetOptions): Promise<Target> {
  const { transport, streams = ["upload", "duplex"], second, dialIn, passTime, waits = true } = options;
  const stores = options.stores ? { ...DEFAULT_STORES, ...options.stores } : await storesOf(transport);
  const has = new Set<Need>(streams);
  const addIf = (is: unknown, need: Need) => void (is && has.add(need));
  addIf(await hasExtensions(transport), "extensions");
  addIf(await isImplemented(createClient(Lifecycle, transport).applyConfiguration({})), "lifecycle");
  addIf(await isImplemented(createClient(MapService, transport).get({})), "map");
  addIf(await isImplemented(firstMessage(createClient(LogService, transport).consume({}, NO_LOG))), "log");
  // Without duplex the service cannot be probed. Its cases are skipped for that need.
  const hasGossipMaps = () =>
    isImplemented(firstMessage(createClient(GossipMapService, transport).connect(noMessages())));
  addIf(!has.has("duplex") || (await hasGossipMaps()), "gossip map");
  addIf(second, "second client");
  addIf(dialIn, "app");
  addIf(waits || passTime, "time");
  addIf(passTime, "clock");
  addIf(stores.others, "other stores");
  addIf(stores.quickPubsub, "quick pubsub");
  addIf(stores.biggerThan, "bigger than");
  addIf(stores.echo, "echo binding");
  addIf(stores.mirror, "mirror");
  addIf(stores.secret, "secrets");
  addIf(stores.backupGroup, "backup group");
  addIf(stores.ledGroup, "led group");
  addIf(stores.spareHello, "spare hello");
  addIf(stores.shortLog, "short log");
  return { ...options, stores, has };
}

/** Headers that read a log that does not exist, without following. */
const NO_LOG = { headers: { [LOG_HEADER]: "conformance-probe", [FOLLOW_HEADER]: "false" } };

async function* noMessages(): AsyncGenerator<never> {}

const firstMessage = async (stream: AsyncIterable<unknown>): Promise<unknown> => {
  for await (const message of stream) return message;
  return undefined;
};

/** Whether the server implements the method: any error but Unimplemented counts. */
async function isImplemented(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (reason) {
    const { code } = ConnectError.from(reason);
    if (code === Code.Unavailable) throw reason;
    return code !== Code.Unimplemented;
  }
}

/** The timeout and the number of attempts before a server counts as gone. */
const PROBE_TIMEOUT_MS = 3000;
const PROBE_ATTEMPTS = 3;

/** Undefined if the server answers, even with an error; otherwise the error. */
export async function livenessError({ transport, stores }: Target): Promise<string | undefined> {
  const { sayHello } = createClient(Runtime, transport);
  let why = "";
  for (let i = 0; i < PROBE_ATTEMPTS; i++) {
    const error = await sayHello({ serviceName: stores.hello.name }, { timeoutMs: PROBE_TIMEOUT_MS }).then(
      () => undefined,
      (reason: unknown) => ConnectError.from(reason),
    );
    if (!error || !GONE_CODES.has(error.code)) return undefined;
    why = error.message;
    await sleep(200);
  }
  return why;
}

const GONE_CODES = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Canceled]);
