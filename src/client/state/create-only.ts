import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { StateOptions_StateConcurrency as Concurrency, Runtime } from "../../../gen/runtime/state_pb.js";
import { randomId } from "../../lib/random-id.js";
import { abortable } from "../../rpc/abortable.js";
import { hasExtensions } from "../server-extensions.js";

/** A write as it is sent. */
interface Item {
  key: string;
  value: Uint8Array;
  metadata: Record<string, string>;
  etag?: { value: string };
  options?: { concurrency: Concurrency };
}

/** The store of a write. */
interface Store {
  transport: Transport;
  client: Client<typeof Runtime>;
  storeName: string;
  /** The beginning of error messages. */
  failure: string;
}

/** An etag that no entry has: versions are counted from 1. */
const NO_ENTRY = { value: "9223372036854775807" };

/** The lifetime of the probe's entry, in case its removal fails, in seconds. */
const PROBE_TTL_S = "60";

const PROBE_MS = 10_000;

/** The pending and the successful probes of stores, by transport and name. */
const probes = new WeakMap<Transport, Map<string, Promise<boolean>>>();

/**
 * Changes `item`, a write that requires an absent key, to a form that this server supports. The Go runtime overwrites
 * an existing entry. Its Redis store accepts any etag for an absent key, and compares it otherwise, so an etag that no
 * entry has makes the same atomic condition. A probe finds out once whether a store does so, with a temporary entry of
 * its own. If it does not, this fails with `Code.Unimplemented`.
 */
export async function createOnly(store: Store, item: Item, call: CallOptions): Promise<Item> {
  const { transport, failure } = store;
  if (await hasExtensions(transport, call.signal, call.timeoutMs)) return item;
  const probe = probeOf(store, call);
  const { options, ...rest } = item;
  if (await (call.signal ? abortable(probe, call.signal) : probe)) return { ...rest, etag: NO_ENTRY };
  throw new ConnectError(
    `${failure} only where the key is absent: this server's store cannot do it, ` +
      "only one that compares etags as Redis does, or a Fairlead server",
    Code.Unimplemented,
  );
}

/** Throws if the entry has no etag: a concurrent write could not be detected. */
export function needEtag(failure: string, entry: { etag: string } | undefined): void {
  if (entry?.etag !== "") return;
  throw new ConnectError(
    `${failure}: this server's store gives no etags, so the change of another writer could be lost`,
    Code.Unimplemented,
  );
}

/** The probe of a store; started by the first call, and again after a failure or a negative result. */
function probeOf(store: Store, call: CallOptions): Promise<boolean> {
  const { transport, storeName } = store;
  let stores = probes.get(transport);
  if (!stores) probes.set(transport, (stores = new Map()));
  const known = stores.get(storeName);
  if (known) return known;
  const probe = comparesEtags(store, { headers: call.headers ?? {}, timeoutMs: PROBE_MS });
  stores.set(storeName, probe);
  const forget = () => void stores.delete(storeName);
  probe.then((compares) => compares || forget(), forget);
  return probe;
}

/** Whether the store accepts an etag for an absent key, and refuses a wrong one for an existing entry. */
async function comparesEtags({ client, storeName }: Store, call: CallOptions): Promise<boolean> {
  const key = `fairlead-probe-${randomId()}`;
  const metadata = { ttlInSeconds: PROBE_TTL_S };
  /** Returns the code of the refusal; undefined if the write succeeded. */
  const write = async (): Promise<Code | undefined> => {
    try {
      await client.saveState({ storeName, states: [{ key, metadata, etag: NO_ENTRY }] }, call);
      return undefined;
    } catch (error) {
      if (!(error instanceof ConnectError) || INCONCLUSIVE.has(error.code)) throw error;
      return error.code;
    }
  };
  if ((await write()) !== undefined) return false;
  try {
    return (await write()) === Code.Aborted;
  } finally {
    await client.deleteState({ storeName, key, etag: { value: "0" } }, call).catch(() => {});
  }
}

/** The codes that do not show whether the store compares etags. */
const INCONCLUSIVE = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Canceled,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.ResourceExhausted,
]);
