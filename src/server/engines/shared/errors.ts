import { EngineFault } from "../../engine.js";

/** The error of every call on a closed engine: `name` is the engine's. */
export const closedError = (name: string): EngineFault =>
  new EngineFault("unavailable", `the ${name} engine is closed`);

/** The error of a call that would exceed the engine's bound `name`. */
export const fullError = (name: string, most: number, message: string): EngineFault =>
  new EngineFault("full", message, { name, most });
