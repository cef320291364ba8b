import type { StreamResponse, Transport } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Message } from "../../../gen/atomix/map/map_pb.js";
import { Pipe } from "./pipe.js";
import type { Random } from "./random.js";
import type { Scheduler, SimulatedProcess } from "./scheduler.js";

/** A process at the other end of streams. */
export interface StreamServer {
  readonly process: SimulatedProcess;
  /** Serves a stream until `signal` aborts. */
  serve(messages: AsyncIterable<Message>, signal: AbortSignal): AsyncIterable<Message>;
  onRead(message: Message): void;
}

/** A process that opens streams to servers. */
export interface StreamClient {
  readonly id: string;
  readonly index: number;
  readonly process: SimulatedProcess;
  /** The network's randomness for it. */
  readonly random: Random;
  onRead(message: Message): void;
}

/** The state of the network around one client. */
export interface Conditions {
  /** The latency of a message, in milliseconds: at least, and at most. */
  latencyMs: [number, number];
  /** How long the client and its server take to read a message, in milliseconds. */
  readMs: number;
  /** Whether no stream can be opened. "silent": attempts are not even refused. */
  blocked: "no" | "refused" | "silent";
}

/** The longest time until a silent attempt to connect fails. */
const CONNECT_TIMEOUT_MS = 5000;

/** An open stream between a client and a server. */
interface Connection {
  readonly client: StreamClient;
  readonly server: StreamServer;
  readonly toServer: Pipe;
  readonly toClient: Pipe;
  readonly serverGone: AbortController;
  isCut: boolean;
}

/** All streams. It delays, cuts and refuses them. */
export class Network {
  readonly #scheduler: Scheduler;
  readonly #connections = new Set<Connection>();
  readonly #conditions = new Map<number, Conditions>();
  readonly #latencyMs: [number, number];
  readonly #chooseServer: (client: StreamClient) => StreamServer | undefined;
  /** The bytes of all messages so far. */
  sentBytes = 0;
  sentMessages = 0;

  /** `chooseServer` returns the server that the next stream of a client reaches; undefined if none runs. */
  constructor(
    scheduler: Scheduler,
    latencyMs: [number, number],
    chooseServer: (client: StreamClient) => StreamServer | undefined,
  ) {
    this.#scheduler = scheduler;
    this.#latencyMs = latencyMs;
    this.#chooseServer = chooseServer;
  }

  /** The conditions of a client, which may be changed. */
  conditionsOf(client: number): Conditions {
    let conditions = this.#conditions.get(client);
    if (!conditions) {
      conditions = { latencyMs: this.#latencyMs, readMs: 0, blocked: "no" };
      this.#conditions.set(client, conditions);
    }
    return conditions;
  }

  /** A transport of `client`, whose streams all go to the gossip map service. */
  transportOf(client: StreamClient): Transport {
    return {
      unary: () => Promise.reject(new TypeError("There are only streams")),
      stream: async (method, signal, _timeoutMs, _header, input) => {
        const message = await this.#open(client, input as AsyncIterable<Message>, signal);
        const response = { method, service: method.parent, header: new Headers(), trailer: new Headers() };
        return { ...response, stream: true, message } as unknown as StreamResponse<never, never>;
      },
    };
  }

  /** Opens a stream without Connect: for members that are not this client. */
  async #open(
    client: StreamClient,
    messages: AsyncIterable<Message>,
    signal: AbortSignal | undefined,
  ): Promise<AsyncIterable<Message>> {
    const conditions = this.conditionsOf(client.index);
    await client.process.delay(client.random.between(...conditions.latencyMs));
    if (conditions.blocked === "silent")
      await client.process.delay(client.random.between(0, CONNECT_TIMEOUT_MS));
    const server = conditions.blocked === "no" ? this.#chooseServer(client) : undefined;
    if (!server || signal?.aborted) throw lost("the server cannot be reached");
    const connection = this.#connect(client, server);
    const { toServer, toClient, serverGone } = connection;
    signal?.addEventListener("abort", () => this.cut(connection, { kept: 1e9, clientMs: 0, serverMs: 1 }));
    void toServer.sendAll(messages);
    const answers = server.serve(toServer.read(), serverGone.signal);
    void toClient.sendAll(answers).finally(() => {
      // The client may still read, but the server does not.
      serverGone.abort();
    });
    return this.#read(connection);
  }

  #connect(client: StreamClient, server: StreamServer): Connection {
    const conditions = this.conditionsOf(client.index);
    const random = client.random.fork(this.#scheduler.nowMs);
    const common = {
      scheduler: this.#scheduler,
      latencyMs: () => random.between(...conditions.latencyMs),
      readMs: () => conditions.readMs,
      onSent: (bytes: number) => {
        this.sentBytes += bytes;
        this.sentMessages++;
      },
    };
    const connection = {
      client,
      server,
      toServer: new Pipe({ ...common, onRead: (message) => server.onRead(message) }),
      toClient: new Pipe({ ...common, onRead: (message) => client.onRead(message) }),
      serverGone: new AbortController(),
      isCut: false,
    };
    this.#connections.add(connection);
    return connection;
  }

  async *#read(connection: Connection): AsyncIterable<Message> {
    try {
      yield* connection.toClient.read();
    } finally {
      this.#connections.delete(connection);
      connection.toServer.break();
    }
  }

  connectionsOf(filter: (connection: Connection) => boolean): Connection[] {
    return [...this.#connections].filter(filter);
  }

  /**
   * Cuts a stream: of the messages under way each way the first `kept` still arrive. The client notices after
   * `clientMs`, the server after `serverMs`.
   */
  cut(connection: Connection, { kept, clientMs, serverMs }: CutOptions): void {
    if (connection.isCut) return;
    connection.isCut = true;
    const { client, server, toServer, toClient, serverGone } = connection;
    toServer.cut(kept);
    toClient.cut(kept);
    if (client.process.isDead) toClient.silence();
    if (server.process.isDead) toServer.silence();
    client.process.after(clientMs, () => toClient.break(lost("the stream was cut")));
    server.process.after(serverMs, () => {
      const error = new ConnectError("the client has gone", Code.Canceled);
      serverGone.abort(error);
      toServer.break(error);
      this.#connections.delete(connection);
    });
  }

  /** Cuts the streams of a process that has died. */
  cutDead(dead: SimulatedProcess, random: Random): void {
    for (const connection of this.connectionsOf(
      ({ client, server }) => client.process === dead || server.process === dead,
    )) {
      this.cut(connection, cutOptions(random));
    }
  }
}

export interface CutOptions {
  kept: number;
  clientMs: number;
  serverMs: number;
}

/** How a stream breaks: some of the last messages arrive, and each side notices at once or much later. */
export function cutOptions(random: Random): CutOptions {
  const noticedMs = () => (random.hasChance(0.6) ? random.between(0, 100) : random.between(100, 8000));
  return { kept: random.whole(0, 4), clientMs: noticedMs(), serverMs: noticedMs() };
}

const lost = (message: string) => new ConnectError(message, Code.Unavailable);
