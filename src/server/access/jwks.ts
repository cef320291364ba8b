import type * as Jose from "jose";
import type { JSONWebKeySet, JWTVerifyGetKey } from "jose";
import type { Logger, Platform } from "../context.js";
import { unavailable } from "../errors.js";

/** The delay before keys that could not be fetched are fetched again, in milliseconds. */
const RETRY_AFTER_MS = 1000;

/** How long fetching the keys may take, in milliseconds. */
const FETCH_TIMEOUT_MS = 5000;

interface RemoteKeysOptions {
  jwksUrl: string;
  /** How long keys are used before they are fetched again. */
  cacheMaxAgeMs: number;
  /** How long after a fetch a token with an unknown key causes no other fetch. */
  cooldownMs: number;
  jose: typeof Jose;
  platform: Pick<Platform, "fetch">;
  log: Logger;
}

/** The keys as they were last fetched. */
interface Fetched {
  text: string;
  jwks: JSONWebKeySet;
  find: JWTVerifyGetKey;
  atMs: number;
}

/**
 * An issuer's keys at a URL. Keys that are too old stay in use while they cannot be fetched again. A token with an
 * unknown key causes a fetch, no more often than `cooldownMs` allows; if that fails, only this token fails.
 */
export class RemoteKeys {
  readonly #options: RemoteKeysOptions;
  #fetched: Fetched | undefined;
  #fetching: Promise<Fetched> | undefined;
  /** When a fetch failed last, unless one has succeeded since. */
  #failedAtMs: number | undefined;

  constructor(options: RemoteKeysOptions) {
    this.#options = options;
  }

  /** The current keys, the same object until others are fetched; undefined: they have to be fetched first. */
  current(): JSONWebKeySet | undefined {
    if (this.#isFresh()) return this.#fetched?.jwks;
    if (this.#failedAtMs === undefined) return undefined;
    this.#refresh();
    return this.#fetched?.jwks;
  }

  /** The key that a token names. Rejects with `unavailable` if it may be among keys that cannot be fetched. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const known = await this.#known();
    try {
      return await known.find(header, token);
    } catch (error) {
      if (!(error instanceof this.#options.jose.errors.JWKSNoMatchingKey)) throw error;
      if (!this.#fetching && !this.#mayFetch()) {
        throw this.#failedAtMs === undefined ? error : unavailableKeys();
      }
      return (await this.#fetch()).find(header, token);
    }
  };

  async #known(): Promise<Fetched> {
    const fetched = this.#fetched;
    if (!fetched) {
      if (!this.#fetching && !this.#mayFetch()) throw unavailableKeys();
      return this.#fetch();
    }
    if (this.#isFresh()) return fetched;
    if (this.#failedAtMs === undefined) return this.#fetch().catch(() => fetched);
    this.#refresh();
    return fetched;
  }

  /** Fetches the keys in the background: no call waits for an issuer that is down. */
  #refresh(): void {
    if (!this.#fetching && this.#mayFetch()) this.#fetch().catch(() => {});
  }

  #isFresh(): boolean {
    const { cacheMaxAgeMs } = this.#options;
    return this.#fetched !== undefined && performance.now() - this.#fetched.atMs < cacheMaxAgeMs;
  }

  #mayFetch(): boolean {
    const nowMs = performance.now();
    if (this.#failedAtMs !== undefined) return nowMs - this.#failedAtMs >= RETRY_AFTER_MS;
    return !this.#fetched || nowMs - this.#fetched.atMs >= this.#options.cooldownMs;
  }

  #fetch(): Promise<Fetched> {
    const attempt = async () => {
      try {
        this.#fetched = await this.#request();
        this.#failedAtMs = undefined;
        return this.#fetched;
      } catch (err) {
        const { jwksUrl, log } = this.#options;
        // Logged once per outage.
        if (this.#failedAtMs === undefined)
          log.warn({ jwksUrl, err }, "the keys to check bearer tokens with cannot be fetched");
        this.#failedAtMs = performance.now();
        throw unavailableKeys();
      } finally {
        this.#fetching = undefined;
      }
    };
    return (this.#fetching ??= attempt());
  }

  async #request(): Promise<Fetched> {
    const { jwksUrl, platform, jose } = this.#options;
    const response = await platform.fetch(new URL(jwksUrl), {
      headers: { accept: "application/jwk-set+json, application/json" },
      redirect: "manual",
      signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    });
    if (response.status !== 200) throw new TypeError(`the issuer answered ${response.status}`);
    const text = await response.text();
    const atMs = performance.now();
    const before = this.#fetched;
    if (before?.text === text) return { ...before, atMs };
    const jwks = JSON.parse(text) as JSONWebKeySet;
    return { text, jwks, find: jose.createLocalJWKSet(jwks), atMs };
  }
}

const unavailableKeys = () =>
  unavailable("the keys to check bearer tokens with cannot be fetched", { retryAfterMs: RETRY_AFTER_MS });
