import { ProtocolError } from "./protocol-error.js";

/** How many methods get numbers, in each direction. */
const MAX_METHODS = 4096;

/** Numbers the methods of a session's calls, so that each path is sent only once in each direction. */
export class MethodNumbers {
  readonly #sent = new Map<string, number>();
  readonly #received: string[] = [];

  /** The number of the path if the other end knows it; otherwise the path, which is then assigned the next number. */
  numberOf(path: string): number | string {
    const number = this.#sent.get(path);
    if (number !== undefined) return number;
    if (this.#sent.size < MAX_METHODS) this.#sent.set(path, this.#sent.size + 1);
    return path;
  }

  /** The path of a method that the other end has sent. */
  pathOf(method: number | string): string {
    if (typeof method === "string") {
      if (this.#received.length < MAX_METHODS) this.#received.push(method);
      return method;
    }
    const path = this.#received[method - 1];
    if (path === undefined) throw new ProtocolError(`a call has the method ${method}, which was not named`);
    return path;
  }
}
