import { utf8 } from "../../lib/utf8.js";
import type { Commit, KeyStore, Write } from "../../server/engine.js";
import { ok } from "../expect.js";

/** A write that sets `key` to the text `value`. */
export const set = (key: string, value = key, options: Partial<Write & { type: "set" }> = {}): Write => ({
  type: "set",
  key,
  value: utf8(value),
  ...options,
});

/** Commits `writes` and returns the version. Fails if there is a conflict. */
export async function commitWrites(keys: KeyStore, ...writes: Write[]): Promise<bigint> {
  const commit = await keys.commit(writes);
  ok("version" in commit, "the commit meets no conflict");
  return commit.version;
}

/** Commits `writes` and returns the conflict. Fails if there is none. */
export async function expectConflict(
  keys: KeyStore,
  ...writes: Write[]
): Promise<Extract<Commit, { conflict: Write }>> {
  const commit = await keys.commit(writes);
  ok("conflict" in commit, "the commit meets a conflict");
  return commit;
}
