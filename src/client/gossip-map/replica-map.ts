import type { Transport } from "@connectrpc/connect";
import type { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import { type Lifetime, MAX_LIFETIME_MS } from "../../gossip/lifetime.js";
import { checkedName, checkOptions, checkType } from "../../lib/checks.js";
import { checkedMs } from "../../lib/count-checks.js";
import { asyncDispose } from "../../lib/dispose.js";
import { quote } from "../../lib/quote.js";
import { randomId } from "../../lib/random-id.js";
import { canceled } from "../../rpc/canceled.js";
import { type Codec, type Coding, codecOf, encoded } from "../codec.js";
import type { GossipMap, GossipMapOptions, GossipSetOptions } from "../gossip-map.js";
import { EPHEMERAL_LIFETIME } from "./ephemeral-writes.js";
import { LocalMember } from "./member.js";
import { tabPlatform } from "./tabs/tab-channel.js";
import { DecodedValues, decodedChanges, isReadable } from "./values.js";

/** Opens the map of openGossipMap(). `platform`: what the tabs of the origin share; tests have several in one process. */
export async function joinGossipMap<V>(
  transport: Transport,
  service: typeof GossipMapService,
  name: string,
  options: GossipMapOptions & Coding<V>,
  platform = tabPlatform(),
): Promise<GossipMap<V>> {
  const { signal, timeoutMs, offline, shareTabs, ...settings } = checkedSettings(name, options);
  if (signal?.aborted) throw canceled(signal);
  const codec = codecOf<V>(options);
  const values = new DecodedValues<V>(name, codec);
  const member = new LocalMember(transport, name, {
    ...settings,
    service,
    signal,
    tabs: shareTabs ? platform : undefined,
    onChanged: (key) => values.forget(key),
  });
  const map = replicaMap(member, settings.memberId, codec, values);
  try {
    await member.loaded;
    if (!offline) await member.caughtUp({ signal, timeoutMs });
    return map;
  } catch (error) {
    await map.close();
    throw error;
  }
}

/** The options with their defaults, after all checks. */
function checkedSettings(name: string, options: GossipMapOptions) {
  const {
    namespace = "default",
    memberId = randomId(),
    persist,
    shareTabs = true,
    offline = persist !== undefined,
    flushMs = 50,
    antiEntropyMs = 1000,
    tombstoneMs = 24 * 3_600_000,
    maxAheadMs = 60_000,
    timeoutMs = 15_000,
    signal,
    ...call
  } = options;
  const failure = `Cannot open gossip map ${quote(name)}`;
  checkedName("the gossip map", name);
  checkOptions(failure, options, {
    namespace: "string",
    memberId: "string",
    offline: "boolean",
    persist: "object",
    shareTabs: "boolean",
  });
  if (persist) checkType(failure, "persist.open", "function", persist.open);
  checkedName(`${failure}: namespace`, namespace);
  checkedName(`${failure}: memberId`, memberId);
  checkedMs(failure, "flushMs", flushMs);
  checkedMs(failure, "antiEntropyMs", antiEntropyMs, { least: 1 });
  checkedMs(failure, "tombstoneMs", tombstoneMs, { endless: true });
  checkedMs(failure, "maxAheadMs", maxAheadMs, { endless: true });
  return {
    namespace,
    memberId,
    persist,
    shareTabs,
    offline,
    flushMs,
    antiEntropyMs,
    tombstoneMs,
    maxAheadMs,
    timeoutMs,
    signal,
    call,
  };
}

function replicaMap<V>(
  member: LocalMember,
  memberId: string,
  codec: Codec<V>,
  values: DecodedValues<V>,
): GossipMap<V> {
  const { name, replica, status } = member;
  member.onRenewed = (before, after) => values.share(before, after);
  const map: GossipMap<V> = {
    name,
    memberId,
    status,
    get connected() {
      return status.current === "connected" || status.current === "behind";
    },
    get size() {
      return member.size;
    },
    get refused() {
      return replica.refused;
    },
    get(key) {
      replica.endLifetimes();
      const current = values.current(key);
      if (current) return current.value;
      const entry = replica.live(key);
      if (entry) return values.read(key, entry).value;
      // Only keys that have passed this check are in the map.
      checkedKey("get", key);
      return undefined;
    },
    has: (key) => replica.live(checkedKey("look for", key)) !== undefined,
    *keys() {
      for (const key of replica.keys()) if (map.has(key)) yield key;
    },
    *entries() {
      for (const key of replica.keys()) {
        const entry = replica.live(key);
        const decoded = entry && values.get(key, entry);
        if (decoded && isReadable(decoded)) yield [key, decoded.value];
      }
    },
    [Symbol.iterator]: () => map.entries(),
    set(key, value, options = {}) {
      const failure = `Cannot set ${quote(key)} in gossip map ${quote(name)}`;
      checkedKey("set", key);
      const lifetime = checkedLifetime(failure, options);
      member.write(`set "${key}"`, () => {
        return [replica.set(key, checkedBytes(failure, encoded(failure, codec, value)), lifetime)];
      });
    },
    delete: (key) => member.write(`delete "${checkedKey("delete", key)}"`, () => replica.delete([key])) > 0,
    clear: () => void member.write("clear", () => replica.delete(replica.keys())),
    changes: ({ signal } = {}) =>
      member.changes(signal, (differences) => decodedChanges(differences, values)),
    async synced(options = {}) {
      checkOptions(`Cannot wait for gossip map ${quote(name)}`, options);
      await member.synced(options);
    },
    close: () => member.close(),
    [asyncDispose]: () => member.close(),
  };
  return map;
}

const checkedKey = (operation: string, key: string): string =>
  checkedName(`Cannot ${operation} ${quote(key)} in a gossip map: the key`, key);

function checkedLifetime(failure: string, options: GossipSetOptions): Lifetime | undefined {
  checkType(failure, "options", "object", options);
  const { ttlMs, ephemeral = false } = options;
  checkType(failure, "ephemeral", "boolean", ephemeral);
  if (ephemeral && ttlMs !== undefined) {
    throw new TypeError(`${failure}: ephemeral and ttlMs must not be set together, got ttlMs ${ttlMs}`);
  }
  if (ttlMs === undefined) return ephemeral ? EPHEMERAL_LIFETIME : undefined;
  checkType(failure, "ttlMs", "number", ttlMs);
  if (ttlMs > 0 && ttlMs <= MAX_LIFETIME_MS) return { ttlMs: Math.ceil(ttlMs), isEphemeral: false };
  throw new RangeError(`${failure}: ttlMs must be above 0 and at most ${MAX_LIFETIME_MS} ms, got ${ttlMs}`);
}

/** The contract's limit. A larger value would block the synchronization of all others, since servers refuse it. */
const VALUE_BYTES = 4 * 1024 ** 2 - 16 * 1024;

function checkedBytes(failure: string, bytes: Uint8Array): Uint8Array {
  if (bytes.length > VALUE_BYTES) {
    throw new RangeError(
      `${failure}: a value must have at most ${VALUE_BYTES} bytes, it has ${bytes.length}`,
    );
  }
  // A copy, because a codec may return bytes that the caller changes later.
  return bytes.slice();
}
