import { utf8 } from "../../../src/lib/utf8.js";
import { groupBy, type Operation } from "../operation.js";
import type { Worker, Workload } from "../workload.js";

const PREFIX = "watched\0";

/** One in so many keys expires. */
const EXPIRES = 4;

/**
 * Watches of the engine: each client writes keys of its own, each once, and watches those of all. A watch may skip
 * changes of a key that has changed again, so only keys that are written once show that it has no gap.
 */
export const watches: Workload = {
  name: "watches",
  paceMs: 40,
  async open(worker) {
    const changes = worker.engine.keys.watch(PREFIX, worker.ended);
    void watch(worker, changes);
  },
  async step({ engine, record, name }, number) {
    const key = `${PREFIX}${name}.${number}`;
    const ttl = number % EXPIRES === 0 ? { ttlMs: 1000 } : {};
    await record.call({ workload: "watches", kind: "write", key }, async () => {
      const commit = await engine.keys.commit([{ type: "set", key, value: utf8(key), ...ttl }]);
      return "version" in commit ? Number(commit.version) : undefined;
    });
  },
  isComplete(operations) {
    const written = acknowledged(operations);
    return [...watchers(operations).values()].every((changes) => {
      const set = new Set(changes.filter(({ input }) => input !== "delete").map(({ key }) => key));
      const deleted = new Set(changes.filter(({ input }) => input === "delete").map(({ key }) => key));
      return written.every(({ key }) => (expires(key) ? deleted : set).has(key));
    });
  },
  check(operations) {
    const versions = new Map(acknowledged(operations).map(({ key, output }) => [key, output as number]));
    const asked = new Set(operations.filter(({ kind }) => kind === "write").map(({ key }) => key));
    for (const [watcher, changes] of watchers(operations))
      checkWatcher(watcher, changes, { versions, asked });
  },
};

const expires = (key: string): boolean => Number(key.split(".").at(-1)) % EXPIRES === 0;

async function watch({ record, ended }: Worker, changes: ReturnType<Worker["engine"]["keys"]["watch"]>) {
  try {
    for await (const change of changes) {
      const isSet = change.type === "set";
      const key = isSet ? change.entry.key : change.key;
      record.note({
        workload: "watches",
        kind: "change",
        key,
        input: isSet ? Number(change.entry.version) : "delete",
      });
    }
  } catch (error) {
    if (!ended.aborted)
      await record.call({ workload: "watches", kind: "watch" }, () => Promise.reject(error));
  }
}

const acknowledged = (operations: readonly Operation[]): Operation[] =>
  operations.filter(({ kind, outcome }) => kind === "write" && outcome === "ok");

const watchers = (operations: readonly Operation[]): Map<string, Operation[]> =>
  groupBy(
    operations.filter(({ kind }) => kind === "change"),
    ({ client }) => client,
  );

/**
 * Fails unless each acknowledged write came once, with its version, and its expiry at most once and not before it. A
 * watch that falls behind may skip a write whose key has expired meanwhile, but not the expiry.
 */
function checkWatcher(
  watcher: string,
  changes: readonly Operation[],
  { versions, asked }: { versions: ReadonlyMap<string, number>; asked: ReadonlySet<string> },
): void {
  const set = new Map<string, number>();
  const deleted = new Set<string>();
  let newest = 0;
  for (const { key, input } of changes) {
    const name = key.slice(PREFIX.length);
    if (!asked.has(key)) throw new Error(`watcher ${watcher} got ${name}, which nobody wrote`);
    if (input === "delete") {
      if (!expires(key))
        throw new Error(`watcher ${watcher} got an expiry of ${name}, which does not expire`);
      if (deleted.has(key)) throw new Error(`watcher ${watcher} got the expiry of ${name} twice`);
      deleted.add(key);
      continue;
    }
    const version = input as number;
    if (deleted.has(key)) throw new Error(`watcher ${watcher} got ${name} after its expiry`);
    if (set.has(key))
      throw new Error(`watcher ${watcher} got ${name} twice, in versions ${set.get(key)} and ${version}`);
    if (version <= newest) throw new Error(`watcher ${watcher} got version ${version} after ${newest}`);
    const expected = versions.get(key);
    if (expected !== undefined && expected !== version)
      throw new Error(`watcher ${watcher} got ${name} in version ${version}, and its commit had ${expected}`);
    newest = version;
    set.set(key, version);
  }
  const missing = [...versions.keys()]
    .filter((key) => !set.has(key) && !deleted.has(key))
    .map((key) => key.slice(PREFIX.length));
  if (missing.length > 0) throw new Error(`watcher ${watcher} never got ${missing.join(", ")}: a gap`);
}
