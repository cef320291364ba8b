import type { Client } from "@connectrpc/connect";
import {
  LockKeepAliveResponse_Status as KeepAlive,
  Runtime,
  UnlockResponse_Status as Unlock,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { FENCE_HEADER } from "../../rpc/extension-headers.js";
import type { CaseContext } from "../case-context.js";
import { ok } from "../expect.js";

export { KeepAlive, Unlock };

/**
 * The lock RPCs on resources that belong to the case. The default resource is "r". All locks are released at the end.
 */
export interface LockCalls extends CaseContext {
  readonly runtime: Client<typeof Runtime>;
  readonly storeName: string;
  /** Whether the lock was granted. */
  tryLock(owner: string, options?: { expire?: number; resource?: string }): Promise<boolean>;
  /** Takes the lock, and returns its fence. Fails if the lock is not granted. */
  fence(owner: string, options?: { expire?: number; resource?: string }): Promise<bigint>;
  unlock(owner: string, resource?: string): Promise<Unlock>;
  keepAlive(owner: string, expire?: number, resource?: string): Promise<KeepAlive>;
  /** The fence in the response of LockKeepAlive. */
  keptFence(owner: string, expire?: number): Promise<bigint | undefined>;
  /** The fence header of a write that requires the lock on `resource`. */
  header(fence: bigint | string, resource?: string): Record<string, string>;
  /** Saves a state with these headers. */
  save(key: string, headers: Record<string, string>): Promise<unknown>;
  /** Whether the state exists. */
  has(key: string): Promise<boolean>;
}

export function lockCalls(context: CaseContext): LockCalls {
  const runtime = context.client(Runtime);
  const storeName = context.stores.lock;
  const state = context.stores.state;
  const claim = (lockOwner: string, resource = "r") => ({
    storeName,
    resourceId: context.own(resource),
    lockOwner,
  });
  const requestLock = async (
    owner: string,
    { expire = 60, resource = "r" }: { expire?: number; resource?: string } = {},
  ) => {
    let header: string | null = null;
    const onHeader = (headers: Headers) => {
      header = headers.get(FENCE_HEADER);
    };
    const { success } = await runtime.tryLock({ ...claim(owner, resource), expire }, { onHeader });
    if (success) context.after(() => runtime.unlock(claim(owner, resource)));
    return { success, header: header as string | null };
  };
  const extendLock = async (owner: string, expire = 60, resource = "r") => {
    let header: string | null = null;
    const onHeader = (headers: Headers) => {
      header = headers.get(FENCE_HEADER);
    };
    const { status } = await runtime.lockKeepAlive({ ...claim(owner, resource), expire }, { onHeader });
    return { status, header: header as string | null };
  };
  return {
    ...context,
    runtime,
    storeName,
    tryLock: async (owner, options) => (await requestLock(owner, options)).success,
    async fence(owner, options) {
      const { success, header } = await requestLock(owner, options);
      ok(success, `${owner} is granted the lock`);
      ok(/^[1-9]\d*$/.test(header ?? ""), `the grant has a fence: ${header}`);
      return BigInt(header ?? "");
    },
    unlock: async (owner, resource) => (await runtime.unlock(claim(owner, resource))).status,
    keepAlive: async (owner, expire, resource) => (await extendLock(owner, expire, resource)).status,
    async keptFence(owner, expire) {
      const { header } = await extendLock(owner, expire);
      return header === null ? undefined : BigInt(header);
    },
    header: (fence, resource = "r") => ({
      [FENCE_HEADER]: `${storeName}/${encodeURIComponent(context.own(resource))}=${fence}`,
    }),
    save(key, headers) {
      const own = context.own(key);
      context.after(() => runtime.deleteState({ storeName: state, key: own, etag: { value: "0" } }));
      return runtime.saveState({ storeName: state, states: [{ key: own, value: utf8("v") }] }, { headers });
    },
    has: async (key) => (await runtime.getState({ storeName: state, key: context.own(key) })).etag !== "",
  };
}
