import { createContextValues, type HandlerContext } from "@connectrpc/connect";
import type { Message } from "../../../gen/atomix/map/map_pb.js";
import { configSchema } from "../../../src/server/config/config.js";
import { type ServiceContext, silent } from "../../../src/server/context.js";
import type { PeerMessaging } from "../../../src/server/engine.js";
import { gossipMapService } from "../../../src/server/services/gossip-map.js";
import type { EngineConnection, SharedEngine } from "./engine.js";
import type { StreamServer } from "./network.js";
import type { Random } from "./random.js";
import type { SimulatedProcess } from "./scheduler.js";

export interface ServerOptions {
  process: SimulatedProcess;
  random: Random;
  engine: SharedEngine;
  /** Whether other servers use the same engine. */
  hasPeers: boolean;
  gossip: { flushMs: number; antiEntropyMs: number; idleMs: number; tombstoneMs: number; maxAheadMs: number };
}

/** One run of a server: the real service for gossip maps, on a connection to the shared engine. */
export class Server implements StreamServer {
  readonly process: SimulatedProcess;
  readonly connection: EngineConnection;
  readonly #service: ReturnType<typeof gossipMapService>;
  readonly #closing = new AbortController();

  constructor({ process, random, engine, hasPeers, gossip }: ServerOptions) {
    this.process = process;
    this.connection = engine.connect(process, random);
    const { limits, gossip: defaults } = configSchema.parse({});
    const context: Partial<ServiceContext> = {
      // The service only looks whether there are peers.
      engine: { ...this.connection.engine, ...(hasPeers && { peers: {} as PeerMessaging }) },
      limits,
      gossip: { ...defaults, ...gossip },
      log: silent,
      count: () => {},
      appId: "server",
      closing: this.#closing.signal,
    };
    this.#service = gossipMapService(context as ServiceContext, process);
  }

  serve(messages: AsyncIterable<Message>, signal: AbortSignal): AsyncIterable<Message> {
    return this.#service.connect(messages, {
      signal,
      values: createContextValues(),
      requestHeader: new Headers(),
    } as HandlerContext) as AsyncIterable<Message>;
  }

  onRead(): void {}

  /** Ends it without a word to anybody. What the engine has is kept. */
  kill(): void {
    this.process.kill();
    this.#closing.abort();
  }
}
