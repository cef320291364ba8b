import { Code, type Transport } from "@connectrpc/connect";
import { Runtime } from "../../../gen/runtime/secrets_pb.js";
import { checkedName, checkOptions } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import { hasCode } from "../errors/facts.js";
import { generatedClient } from "../generated-client.js";
import type { Secret, SecretStore } from "../secrets.js";

const REDACTED = "[redacted]";

/** The implementation of Secret: its values are in a private field, which no serializer sees. */
export class RedactedSecret implements Secret {
  readonly name: string;
  readonly #values: ReadonlyMap<string, string>;

  constructor(name: string, values: Readonly<Record<string, string>>) {
    this.name = name;
    this.#values = new Map(Object.entries(values));
  }

  get parts(): string[] {
    return [...this.#values.keys()];
  }

  reveal(part?: string): string {
    const [first] = this.#values.size === 1 ? this.#values.values() : [];
    const value = part === undefined ? (this.#values.get(this.name) ?? first) : this.#values.get(part);
    if (value !== undefined) return value;
    const wanted = part === undefined ? "" : ` part "${part}" of`;
    throw new TypeError(
      `Cannot reveal${wanted} "${this.name}": its parts are ${this.parts.join(", ") || "none"}`,
    );
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  /** For console.log() of Node, Deno and Bun. Consoles that do not call it do not show private fields either. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return REDACTED;
  }
}

/** The implementation of createSecrets(). */
export function secretStore(transport: Transport, store: string): SecretStore {
  const client = generatedClient(Runtime, transport);
  const failure = `Cannot read secret store ${quote(store)}`;
  return {
    async get(name, call = {}) {
      checkedName(`${failure}: the name`, name);
      checkOptions(failure, call);
      let isGoRuntime = false;
      const options = withOnHeader(call, (headers) => {
        isGoRuntime = !headers.has(SERVER_HEADER);
      });
      try {
        const { data } = await client.getSecret({ storeName: store, key: name }, options);
        // The Go runtime answers "" for an environment variable that is not set.
        if ((isGoRuntime && data[name] === "") || Object.keys(data).length === 0) return undefined;
        return new RedactedSecret(name, data);
      } catch (error) {
        if (hasCode(error, Code.NotFound)) return undefined;
        throw error;
      }
    },

    async getAll(call = {}) {
      checkOptions(failure, call);
      const { data } = await client.getBulkSecret({ storeName: store }, call);
      const secrets = Object.entries(data).map(
        ([name, { secrets }]) => [name, new RedactedSecret(name, secrets)] as const,
      );
      return new Map(secrets);
    },
  };
}
