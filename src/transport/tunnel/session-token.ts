import type { Token } from "../../client/token.js";
import { bearer } from "../../rpc/bearer-token.js";

/** The token that identifies a session: sent before its first call, and again when it changes. */
export class SessionToken {
  /** The `authorization` header of the token that was sent last. */
  authorization: string | undefined;
  readonly #token: Token | undefined;
  #sent: string | undefined;
  /** The token that the other end refused. */
  #refused: string | undefined;

  constructor(token: Token | undefined) {
    this.#token = token;
  }

  /** Gets the token for the next session. */
  async refresh(): Promise<void> {
    if (this.#token === undefined) return;
    const text = typeof this.#token === "string" ? this.#token : await this.#token(this.#refused);
    this.#refused = undefined;
    this.update(text);
  }

  /** Sets the token. Returns whether it has changed, so that it has to be sent. */
  update(text: string): boolean {
    const authorization = bearer(text);
    this.#sent = text;
    if (authorization === this.authorization) return false;
    this.authorization = authorization;
    return true;
  }

  /** Notes that the other end refused the token. */
  refuse(): void {
    this.#refused = this.#sent;
  }
}
