import type { CallOptions, Transport } from "@connectrpc/connect";
import { checkedName } from "../lib/checks.js";
import { lazyMethods } from "./lazy.js";

/** A secret that is hard to leak: printed, logged, concatenated or made into JSON, it is "[redacted]". */
export interface Secret {
  /** The name of the secret in its store. */
  readonly name: string;
  /** The names of its values: only `name` itself, except in a store that keeps several values in one secret. */
  readonly parts: string[];
  /**
   * The value, or the one called `part` if the secret has several. Throws TypeError if there is no such part, or if
   * there are several and `part` is not given.
   */
  reveal(part?: string): string;
  /** `[redacted]`. */
  toString(): string;
  /** `[redacted]`. */
  toJSON(): string;
  /** `[redacted]`. */
  [Symbol.toPrimitive](): string;
}

/** The secrets of one store that the server lets clients read. */
export interface SecretStore {
  /** The secret called `name`; undefined if there is none, or none that the server shows. `GetSecret` */
  get(name: string, options?: CallOptions): Promise<Secret | undefined>;
  /** Every secret that the server shows, by name. `GetBulkSecret` */
  getAll(options?: CallOptions): Promise<Map<string, Secret>>;
}

/**
 * The secret store that the server calls `store`. Its code is loaded by the first call.
 *
 * @example
 * ```ts
 * import { createSecrets } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 *
 * const secrets = createSecrets(createWebTransport("http://localhost:34904"), "default");
 * const password = await secrets.get("FAIRLEAD_SECRET_DB");
 * console.log(`${password}`); // [redacted]
 * const url = `postgres://app:${password?.reveal()}@db.internal/orders`;
 * ```
 */
export function createSecrets(transport: Transport, store: string): SecretStore {
  checkedName("the secret store", store);
  return lazyMethods(({ secretStore }) => secretStore(transport, store), ["get", "getAll"]);
}
