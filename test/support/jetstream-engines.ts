import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { Engine } from "../../src/server/engine.js";
import { type JetStreamEngineOptions, openJetStreamEngine } from "../../src/server/jetstream.js";

/** Opens JetStream engines that share nothing, for tests that need an empty one each. */
export class JetStreamEngines implements AsyncDisposable {
  readonly #servers: readonly string[];
  readonly #replicas: number;
  readonly #connection: Promise<NatsConnection>;
  /** Names of engines that are closed. Emptying their streams takes less time than creating others. */
  readonly #free: string[] = [];

  constructor(servers: readonly string[], replicas: number) {
    this.#servers = servers;
    this.#replicas = replicas;
    this.#connection = connect({ servers: [...servers] });
  }

  /** Opens an empty engine. */
  async open(options: Partial<JetStreamEngineOptions> = {}): Promise<Engine> {
    const name = this.#free.pop() ?? `t${crypto.randomUUID()}`;
    const engine = await openJetStreamEngine({
      servers: this.#servers,
      replicas: this.#replicas,
      ...options,
      name,
    });
    const close = async () => {
      await engine.close();
      await this.#empty(name);
      this.#free.push(name);
    };
    let closed: Promise<void> | undefined;
    const closeOnce = () => {
      closed ??= close();
      return closed;
    };
    return { ...engine, close: closeOnce, [Symbol.asyncDispose]: closeOnce };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#connection).close();
  }

  async #empty(name: string): Promise<void> {
    await Promise.all(
      ["keys", "logs", "topics", "blobs"].map(async (part) => {
        const stream = `${name}-${part}`;
        const { consumers = [] } = await this.#api<{ consumers?: string[] }>(`CONSUMER.NAMES.${stream}`, {});
        for (const consumer of consumers) await this.#api(`CONSUMER.DELETE.${stream}.${consumer}`);
        await this.#api(`STREAM.PURGE.${stream}`, {});
      }),
    );
  }

  /** A request of JetStream's API. The cluster leaves one unanswered if it changes what is being changed already. */
  async #api<T>(method: string, body?: object): Promise<T> {
    const connection = await this.#connection;
    const data = body && JSON.stringify(body);
    for (let attempt = 1; ; attempt++) {
      try {
        const message = await connection.request(`$JS.API.${method}`, data, { timeout: 500 });
        return message.json<T>();
      } catch (error) {
        if (attempt === 20) throw error;
      }
    }
  }
}
