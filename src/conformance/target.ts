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

/** A server that is judged, by one way. */
export interface TargetOptions {
  /** The way to it. */
  transport: Transport;
  /**
   * What it calls its stores. Default: as `fairlead serve --conformance` has them where it answers as that does, otherwise
   * as `fairlead serve` has them.
   */
  stores?: Partial<Stores>;
  /** What the way carries beside unary calls and answers in a stream. Default: both. */
  streams?: readonly ("upload" | "duplex")[];
  /** Opens another client's way to it. Default: there is none. */
  second?: () => Promise<{ transport: Transport; close(): Promise<void> }>;
  /** Opens a tunnel of an app, to be called through it. Default: there is none. */
  dialIn?: (appId: string) => TunnelTransport;
  /** Moves the server's clock, for a server in this process. Default: it is waited for. */
  passTime?: (ms: number) => void;
  /** Whether cases that wait for time to pass are run. Default: true. */
  waits?: boolean;
}

/** A server that is judged, and what is known of it. */
export interface Target extends TargetOptions {
  readonly stores: Stores;
  /** What cases may need and is there. */
  readonly has: ReadonlySet<Need>;
}

/** Asks a server what it has. Fails where it cannot be reached. */
export async function openTarget(options: TargetOptions): Promise<Target> {
  const { transport, streams = ["upload", "duplex"], second, dialIn, passTime, waits = true } = options;
  const stores = options.stores ? { ...DEFAULT_STORES, ...options.stores } : await storesOf(transport);
  const has = new Set<Need>(streams);
  const note = (is: unknown, need: Need) => void (is && has.add(need));
  note(await hasExtensions(transport), "extensions");
  note(await isImplemented(createClient(Lifecycle, transport).applyConfiguration({})), "lifecycle");
  note(await isImplemented(createClient(MapService, transport).get({})), "map");
  note(await isImplemented(firstMessage(createClient(LogService, transport).consume({}, NO_LOG))), "log");
  // Without duplex its cases are skipped for that: nothing is known of the service.
  const gossips = () =>
    isImplemented(firstMessage(createClient(GossipMapService, transport).connect(noMessages())));
  note(!has.has("duplex") || (await gossips()), "gossip map");
  note(second, "second client");
  note(dialIn, "app");
  note(waits || passTime, "time");
  note(passTime, "clock");
  note(stores.others, "other stores");
  note(stores.quickPubsub, "quick pubsub");
  note(stores.biggerThan, "bigger than");
  note(stores.echo, "echo binding");
  note(stores.mirror, "mirror");
  note(stores.secret, "secrets");
  note(stores.backupGroup, "backup group");
  note(stores.ledGroup, "led group");
  note(stores.spareHello, "spare hello");
  note(stores.shortLog, "short log");
  return { ...options, stores, has };
}

/** Asks for no log that is there, and does not stay. */
const NO_LOG = { headers: { [LOG_HEADER]: "conformance-probe", [FOLLOW_HEADER]: "false" } };

async function* noMessages(): AsyncGenerator<never> {}

const firstMessage = async (stream: AsyncIterable<unknown>): Promise<unknown> => {
  for await (const message of stream) return message;
  return undefined;
};

/** Whether there is someone to answer: an error of the method's own is an answer. */
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

/** How long a server may take to answer, and how often it is asked, before it counts as gone. */
const ANSWER_MS = 3000;
const TRIES = 3;

/** Why the server counts as gone; undefined where it answers, whatever that is. */
export async function checkAlive({ transport, stores }: Target): Promise<string | undefined> {
  const { sayHello } = createClient(Runtime, transport);
  let why = "";
  for (let i = 0; i < TRIES; i++) {
    const error = await sayHello({ serviceName: stores.hello.name }, { timeoutMs: ANSWER_MS }).then(
      () => undefined,
      (reason: unknown) => ConnectError.from(reason),
    );
    if (!error || !GONE.has(error.code)) return undefined;
    why = error.message;
    await sleep(200);
  }
  return why;
}

const GONE = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Canceled]);
