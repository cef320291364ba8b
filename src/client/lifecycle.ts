import type { CallOptions, Transport } from "@connectrpc/connect";
import { lazyMethods } from "./lazy.js";

/** The kinds of component that a Fairlead server can change while it runs. */
export type ChangeableKind = "hello" | "pubsub" | "sequencer" | "logs" | "services" | "bindings";

/** Changes components while the server runs. */
export interface LifecycleControl {
  /**
   * Replaces the settings of the component `name`. They have the names of the configuration; a setting that is left out
   * returns to its default. They apply to calls that begin after this one has resolved. Fails with
   * `Code.InvalidArgument` if the component is unknown or cannot change, or if a setting is wrong. `ApplyConfiguration`
   */
  apply(
    kind: ChangeableKind | (string & {}),
    name: string,
    metadata: Record<string, string>,
    options?: CallOptions,
  ): Promise<void>;
}

/**
 * The control over the components of the server behind `transport`. Its code is loaded by the first call.
 *
 * @example
 * ```ts
 * import { createLifecycle } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 *
 * const lifecycle = createLifecycle(createWebTransport("http://localhost:34904"));
 * await lifecycle.apply("hello", "helloworld", { greeting: "Hello" });
 * ```
 */
export function createLifecycle(transport: Transport): LifecycleControl {
  return lazyMethods(({ lifecycleControl }) => lifecycleControl(transport), ["apply"]);
}
