import { ProtocolError } from "./protocol-error.js";

/** How many methods have numbers, in each direction. */
const MOST_METHODS = 4096;

/** The methods that calls of a session have named so far: each by its path once, and then by its number. */
export class MethodNumbers {
  readonly #sent = new Map<string, number>();
  readonly #known: string[] = [];

  /** A number that the other end knows, or the path, which then has the next number. */
  numberOf(path: string): number | string {
    const number = this.#sent.get(path);
    if (number !== undefined) return number;
    if (this.#sent.size < MOST_METHODS) this.#sent.set(path, this.#sent.size + 1);
    return path;
  }

  /** The path that the other end means. */
  pathOf(method: number | string): string {
    if (typeof method === "string") {
      if (this.#known.length < MOST_METHODS) this.#known.push(method);
      return method;
    }
    const path = this.#known[method - 1];
    if (path === undefined) throw new ProtocolError(`a call has the method ${method}, which was not named`);
    return path;
  }
}
