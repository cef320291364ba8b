import { Code, ConnectError } from "@connectrpc/connect";
import { quote } from "../../../lib/quote.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { KeyStore } from "../../engine.js";
import { keyOf } from "../shared/keyspace.js";
import { type Address, addressAt, RECORD_PREFIX } from "./address.js";
import { randomIdFrom } from "./election/random-id-from.js";

/** The key of the id of a server's copies, in its own engine: an empty engine is another copy. */
export const COPY_KEY = keyOf("map", "copy");

/** Returns a function that resolves with the id of the copies in the engine. Its first call creates it if necessary. */
export function copyIdOf(keys: KeyStore, random: () => number): () => Promise<string> {
  let id: Promise<string> | undefined;
  const load = async () => {
    const present = await keys.get(COPY_KEY);
    if (present) return fromUtf8(present.value);
    const value = utf8(randomIdFrom(random));
    const commit = await keys.commit([{ type: "set", key: COPY_KEY, value, ifVersion: 0n }]);
    return "version" in commit || !commit.actual ? fromUtf8(value) : fromUtf8(commit.actual.value);
  };
  return () =>
    (id ??= load().catch((error: unknown) => {
      id = undefined;
      throw error;
    }));
}

/** The partitions of which the engine has a copy. */
export async function* copiesIn(keys: KeyStore): AsyncGenerator<Address, void, undefined> {
  for await (const { key } of keys.list(RECORD_PREFIX)) yield addressAt(key);
}

/** The error of a request that is meant for another copy: this server has lost its data, or is another one. */
export const otherCopyError = (copy: string | null): ConnectError =>
  new ConnectError(
    `this server does not have the copy ${copy === null ? "that an election without a header means" : quote(copy)}`,
    Code.FailedPrecondition,
  );
