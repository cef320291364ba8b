import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { Runtime } from "../../../gen/runtime/secrets_pb.js";
import { checkedName, checkOptions } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { generatedClient } from "../generated-client.js";

const REDACTED = "[redacted]";

/** A secret that keeps to itself: printed, logged, joined to a text or made into JSON, it is "[redacted]". */
export class Secret {
  /** What the store calls it. */
  readonly name: string;
  readonly #values: ReadonlyMap<string, string>;

  constructor(name: string, values: Readonly<Record<string, string>>) {
    this.name = name;
    this.#values = new Map(Object.entries(values));
  }

  /** The names of its values: its own name, except in a store that keeps several values in one secret. */
  get parts(): string[] {
    return [...this.#values.keys()];
  }

  /**
   * The value; of a secret with several, the one called `part`. Throws TypeError where there is none of that name, or
   * where there are several and none is named.
   */
  reveal(part?: string): string {
    const [first] = this.#values.size === 1 ? this.#values.values() : [];
    const value = part === undefined ? (this.#values.get(this.name) ?? first) : this.#values.get(part);
    if (value !== undefined) return value;
    const wanted = part === undefined ? "" : ` part "${part}" of`;
    throw new TypeError(
      `Cannot reveal${wanted} "${this.name}": its parts are ${this.parts.join(", ") || "none"}`,
    );
  }

  /** `[redacted]`. */
  toString(): string {
    return REDACTED;
  }

  /** `[redacted]`. */
  toJSON(): string {
    return REDACTED;
  }

  /** `[redacted]`. */
  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  /** What console.log() shows where it asks; where it does not, it cannot see a private field either. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return REDACTED;
  }
}

/** The secrets of one store that the server lets clients read. */
export interface SecretStore {
  /** The secret called `name`; undefined where there is none, or none that the server shows. `GetSecret` */
  get(name: string, options?: CallOptions): Promise<Secret | undefined>;
  /** Every secret that the server shows, by name. `GetBulkSecret` */
  getAll(options?: CallOptions): Promise<Map<string, Secret>>;
}

/** What createSecrets() gives, all of it. */
export function secretStore(transport: Transport, store: string): SecretStore {
  const client = generatedClient(Runtime, transport);
  const what = `Cannot read secret store ${quote(store)}`;
  return {
    async get(name, call = {}) {
      checkedName(`${what}: the name`, name);
      checkOptions(what, call);
      let go = false;
      const told = withOnHeader(call, (headers) => {
        go = !headers.has("fairlead-server");
      });
      try {
        const { data } = await client.getSecret({ storeName: store, key: name }, told);
        // The Go runtime answers "" for an environment variable that is not there.
        if ((go && data[name] === "") || Object.keys(data).length === 0) return undefined;
        return new Secret(name, data);
      } catch (error) {
        if (error instanceof ConnectError && error.code === Code.NotFound) return undefined;
        throw error;
      }
    },

    async getAll(call = {}) {
      checkOptions(what, call);
      const { data } = await client.getBulkSecret({ storeName: store }, call);
      return new Map(Object.entries(data).map(([name, { secrets }]) => [name, new Secret(name, secrets)]));
    },
  };
}
