import { EngineFault } from "../../engine.js";

/** What every call on a closed memory engine fails with. */
export const closedError = (): EngineFault => new EngineFault("away", "the memory engine is closed");

/** What a call fails with that would pass one of the engine's own bounds. */
export const full = (name: string, most: number, what: string): EngineFault =>
  new EngineFault("full", what, { name, most });
