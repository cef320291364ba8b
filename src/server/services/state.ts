import type { ConnectError, ServiceImpl } from "@connectrpc/connect";
import {
  StateOptions_StateConcurrency as Concurrency,
  type Runtime,
  type StateItem,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { quote } from "../../lib/quote.js";
import { ETAG_HEADER } from "../../rpc/extension-headers.js";
import type { ServiceContext } from "../context.js";
import type { Entry, Write } from "../engine.js";
import { conflict, invalid } from "../errors.js";
import { fenceChecks, fenceConflict } from "./shared/fence.js";
import { keyOf } from "./shared/keyspace.js";

type StateMethods = Pick<
  ServiceImpl<typeof Runtime>,
  "getState" | "getBulkState" | "saveState" | "deleteState" | "deleteBulkState" | "executeStateTransaction"
>;

/** One operation on one key: an upsert, or a delete. */
type Operation = {
  type: "upsert" | "delete";
  item: Pick<StateItem, "key" | "value" | "etag" | "metadata" | "options">;
  field: string;
};

/** The state RPCs: entries with an etag, which is their version. Every write call is one commit. */
export function stateService({ engine: { keys, clock }, components }: ServiceContext): StateMethods {
  const write = async (store: string, operations: Operation[], request: Headers, response: Headers) => {
    components.get("state", store);
    const fences = fenceChecks(request, components);
    const writes = mergeOperations(store, operations);
    if (writes.length === 0) return {};
    const commit = await keys.commit([...fences, ...writes]);
    if ("conflict" in commit) throw conflictError(store, commit.conflict, commit.actual);
    response.set(ETAG_HEADER, String(commit.version));
    return {};
  };

  return {
    async getState({ storeName, key }) {
      components.get("state", storeName);
      const entry = await keys.get(keyOf("state", storeName, key));
      return entry ? read(entry, clock.now()) : {};
    },

    async getBulkState({ storeName, keys: requested }) {
      components.get("state", storeName);
      const unique = [...new Set(requested)];
      const entries = await keys.getMany(unique.map((key) => keyOf("state", storeName, key)));
      const nowMs = clock.now();
      return { items: unique.map((key, i) => ({ key, ...(entries[i] && read(entries[i], nowMs)) })) };
    },

    saveState({ storeName, states }, { requestHeader, responseHeader }) {
      const operations = states.map((item, i) => ({ type: "upsert" as const, item, field: `states[${i}]` }));
      return write(storeName, operations, requestHeader, responseHeader);
    },

    deleteState({ storeName, key, etag, options, metadata }, { requestHeader, responseHeader }) {
      const item = { key, etag, options, metadata, value: new Uint8Array() };
      return write(storeName, [{ type: "delete", item, field: "" }], requestHeader, responseHeader);
    },

    deleteBulkState({ storeName, states }, { requestHeader, responseHeader }) {
      const operations = states.map((item, i) => ({ type: "delete" as const, item, field: `states[${i}]` }));
      return write(storeName, operations, requestHeader, responseHeader);
    },

    executeStateTransaction({ storeName, operations }, { requestHeader, responseHeader }) {
      const parsed = operations.map(({ operationType, request }, i) => {
        const field = `operations[${i}]`;
        if (operationType !== "upsert" && operationType !== "delete") {
          throw invalid(`${field}.operationType`, operationType, 'must be "upsert" or "delete"');
        }
        return {
          type: operationType,
          item: request as StateItem,
          field: `${field}.request`,
        } satisfies Operation;
      });
      return write(storeName, parsed, requestHeader, responseHeader);
    },
  };
}

function read({ value, version, expiresAtMs }: Entry, nowMs: number) {
  const metadata: Record<string, string> = {};
  if (expiresAtMs !== undefined)
    metadata["ttlRemainingMs"] = String(Math.max(0, Math.ceil(expiresAtMs - nowMs)));
  return { data: value, etag: String(version), metadata };
}

/**
 * Merges the operations to one write for each key, with the same result as one after the other. The engine checks the
 * first condition on a key; later ones are checked against the earlier operations of the call.
 */
function mergeOperations(store: string, operations: Operation[]): Write[] {
  const writes = new Map<string, Write>();
  for (const { type, item, field } of operations) {
    const key = keyOf("state", store, item.key);
    const earlier = writes.get(key);
    const ifVersion = condition(type, item, field);
    if (earlier && ifVersion !== undefined) {
      // The earlier operation's value has no etag yet that a client could know. Only its absence can be a condition.
      const isAbsent = earlier.type === "delete";
      if (ifVersion !== 0n || !isAbsent) throw conflictError(store, { ...earlier, ifVersion }, undefined);
    }
    const firstIfVersion = earlier ? earlier.ifVersion : ifVersion;
    const firstCondition = firstIfVersion === undefined ? {} : { ifVersion: firstIfVersion };
    if (type === "delete") {
      writes.set(key, { type, key, ...firstCondition });
    } else {
      const ttl = ttlMs(item.metadata, field);
      const kept = ttl === "keep" && earlier ? (earlier.type === "set" ? earlier.ttlMs : undefined) : ttl;
      writes.set(key, { type: "set", key, value: item.value, ttlMs: kept, ...firstCondition });
    }
  }
  return [...writes.values()];
}

/** The version that the key must have: 0n if it must be absent; undefined: no condition. */
function condition(type: Operation["type"], item: Operation["item"], field: string): bigint | undefined {
  const etag = item.etag?.value ?? "";
  if (etag === "" || etag === "0") {
    const create = type === "upsert" && item.options?.concurrency === Concurrency.CONCURRENCY_FIRST_WRITE;
    return create ? 0n : undefined;
  }
  if (!/^[1-9]\d{0,18}$/.test(etag)) {
    throw invalid(
      `${field && `${field}.`}etag.value`,
      etag,
      'must be an etag that this store gave, "0" or empty',
    );
  }
  return BigInt(etag);
}

/** The ttl by `ttlInSeconds`. Without that field, a new entry does not expire, and an existing one keeps its expiry. */
function ttlMs({ ttlInSeconds }: Record<string, string>, field: string): number | "keep" | undefined {
  if (ttlInSeconds === undefined) return "keep";
  if (!/^[+-]?\d{1,12}$/.test(ttlInSeconds)) {
    throw invalid(`${field}.metadata["ttlInSeconds"]`, ttlInSeconds, "must be a whole number of seconds");
  }
  const seconds = Number(ttlInSeconds);
  return seconds > 0 ? seconds * 1000 : undefined;
}

function conflictError(store: string, write: Write, actual: Entry | undefined): ConnectError {
  if (write.type === "check") return fenceConflict(write, actual);
  const key = write.key.slice(keyOf("state", store, "").length);
  const wanted = write.ifVersion === 0n ? "it must not exist" : `etag "${write.ifVersion}" was asked for`;
  const found = actual
    ? `its etag is "${actual.version}"`
    : write.ifVersion === 0n
      ? "it does"
      : "it does not exist";
  return conflict(`state ${quote(key)} in store ${quote(store)}: ${wanted} and ${found}`, {
    key,
    etag: actual ? String(actual.version) : "",
  });
}
