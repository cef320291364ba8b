import type { DescMethod } from "@bufbuild/protobuf";
import type { ContextValues } from "@connectrpc/connect";
import { quote } from "../../lib/quote.js";
import { callerKey, refusalOf, trusted } from "./callers.js";
import { permissionOf } from "./permissions.js";
import { keyRights, operationOf } from "./rules.js";

/** What the caller of a call may do with the keys of the store that a message names. */
export interface KeyAccess {
  mayRead(key: string): boolean;
  /** Throws a refusal if the caller may not write `key`. */
  checkWrite(key: string): void;
}

/**
 * The access to the keys of the store that `message` of a call of `method` names. Undefined: the caller may read and
 * write all of them. The call must have passed the gate.
 */
export function keyAccessOf(
  values: ContextValues,
  method: DescMethod,
  message: unknown,
): KeyAccess | undefined {
  const caller = values.get(callerKey);
  const permission = permissionOf(method);
  if (!caller || caller === trusted || !permission) return undefined;
  const store = permission.store?.(message as never) ?? "";
  const rights = keyRights(caller.rules, operationOf(permission, method.name), store);
  if (!rights) return undefined;
  return {
    mayRead: rights.mayRead,
    checkWrite(key) {
      if (rights.mayWrite(key)) return;
      throw refusalOf(caller, `write the key ${quote(key)} of ${permission.primitive} ${quote(store)}`);
    },
  };
}
