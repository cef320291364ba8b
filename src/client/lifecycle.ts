import type { Transport } from "@connectrpc/connect";
import { lazyMethods } from "./lazy.js";
import type { LifecycleControl } from "./lifecycle/control.js";

export type { ChangeableKind, LifecycleControl } from "./lifecycle/control.js";

/** The control over the components of the server behind `transport`. The code for it is loaded with the first call. */
export function createLifecycle(transport: Transport): LifecycleControl {
  return lazyMethods(({ lifecycleControl }) => lifecycleControl(transport), ["apply"]);
}
