import type { Transport } from "@connectrpc/connect";
import { checkedName } from "../lib/checks.js";
import { lazyMethods } from "./lazy.js";
import type { SecretStore } from "./secrets/store.js";

export type { Secret, SecretStore } from "./secrets/store.js";

/** The secret store that the server calls `store`. The code for it is loaded with the first call. */
export function createSecrets(transport: Transport, store: string): SecretStore {
  checkedName("the secret store", store);
  return lazyMethods(({ secretStore }) => secretStore(transport, store), ["get", "getAll"]);
}
