import type { Transport } from "@connectrpc/connect";
import { checkedName } from "./internal/checks.js";
import { onDemand } from "./internal/later.js";
import type { SecretStore } from "./internal/secret-store.js";

export type { Secret, SecretStore } from "./internal/secret-store.js";

/** The secret store that the server calls `store`. The code for it is loaded with the first call. */
export function createSecrets(transport: Transport, store: string): SecretStore {
  checkedName("the secret store", store);
  return onDemand(({ secretStore }) => secretStore(transport, store), ["get", "getAll"]);
}
