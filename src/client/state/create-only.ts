import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { StateOptions_StateConcurrency as Concurrency, Runtime } from "../../../gen/runtime/state_pb.js";
import { randomId } from "../../lib/random-id.js";
import { abortable } from "../../rpc/abortable.js";
import { hasExtensions } from "../server-extensions.js";

/** A write as it goes over the wire. */
interface Item {
  key: string;
  value: Uint8Array;
  metadata: Record<string, string>;
  etag?: { value: string };
  options?: { concurrency: Concurrency };
}

/** A state store, and what is done in it. */
interface Store {
  transport: Transport;
  client: Client<typeof Runtime>;
  storeName: string;
  /** Begins the messages of errors. */
  what: string;
}

/** An etag that no entry has: versions are counted from 1. */
const NO_ENTRY = { value: "9223372036854775807" };

/** How long the probe's entry lasts where it could not be removed, in seconds. */
const PROBE_TTL_S = "60";

/** The probes of stores, by transport and name: those under way, and those that found what they looked for. */
const probed = new WeakMap<Transport, Map<string, Promise<boolean>>>();

/**
 * `item`, which asks to be written only where its key is absent, as this server understands it. The Go runtime overwrites
 * what is there; its Redis store, though, takes any etag for a key that is absent, and compares it with one that is not.
 * So an etag that no entry has asks for the same, atomically. Whether a store does so is probed once, with an entry of its
 * own that is removed again. Elsewhere it fails with `Code.Unimplemented`.
 */
export async function createOnly(store: Store, item: Item, call: CallOptions): Promise<Item> {
  const { transport, storeName, what } = store;
  if (await hasExtensions(transport, call.signal, call.timeoutMs)) return item;
  let stores = probed.get(transport);
  if (!stores) probed.set(transport, (stores = new Map()));
  let answer = stores.get(storeName);
  if (!answer) {
    answer = comparesEtags(store, { headers: call.headers ?? {}, timeoutMs: PROBE_MS });
    stores.set(storeName, answer);
    // A failure may pass: it is asked again.
    const forget = () => void stores.delete(storeName);
    answer.then((compares) => compares || forget(), forget);
  }
  const { options, ...rest } = item;
  if (await (call.signal ? abortable(answer, call.signal) : answer)) return { ...rest, etag: NO_ENTRY };
  throw new ConnectError(
    `${what} only where the key is absent: this server's store cannot do it, only one that compares etags as Redis does, or a Fairlead server`,
    Code.Unimplemented,
  );
}

/** Fails where the entry has no etag: a change of another writer could not be told. */
export function needEtag(what: string, entry: { etag: string } | undefined): void {
  if (entry?.etag !== "") return;
  throw new ConnectError(
    `${what}: this server's store gives no etags, so the change of another writer could be lost`,
    Code.Unimplemented,
  );
}

const PROBE_MS = 10_000;

/** Whether the store takes an etag for a key that is absent, and refuses another one where there is an entry. */
async function comparesEtags({ client, storeName }: Store, call: CallOptions): Promise<boolean> {
  const key = `fairlead-probe-${randomId()}`;
  const metadata = { ttlInSeconds: PROBE_TTL_S };
  /** The code that the write failed with; undefined where it did not. */
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

/** What says nothing about the store. */
const INCONCLUSIVE = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Canceled,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.ResourceExhausted,
]);
