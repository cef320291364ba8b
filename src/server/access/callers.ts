import { Code, ConnectError, type ContextKey, createContextKey } from "@connectrpc/connect";
import { quote } from "../../lib/quote.js";
import { sameBytes, tokenIn } from "../../rpc/bearer-token.js";
import type { Logger, Platform } from "../context.js";
import { tokenOf } from "./credential.js";
import { type JwtReader, jwtReader } from "./jwt.js";
import type { AccessRule } from "./rules.js";
import { type AccessSettings, isOn, sha256Hex } from "./settings.js";
import { type Validity, VerifiedTokens } from "./verified.js";

/** The caller of a call. */
export interface Caller {
  /** Its name, by the configuration or the token's issuer. */
  readonly subject: string;
  readonly rules: readonly AccessRule[];
  /** Whether it has a token. Without one, a refusal is `unauthenticated`. */
  readonly hasToken: boolean;
  /** When its token expires, in Unix milliseconds. Default: never. */
  readonly expiresAtMs?: number;
}

/** The caller of a call, in its context values. */
export const callerKey: ContextKey<Caller | undefined> = createContextKey(undefined);

const everything: readonly AccessRule[] = [{ primitive: "*", verbs: ["*"] }];

/** This process itself, and every caller of a server without access control. */
export const trusted: Caller = { subject: "trusted", rules: everything, hasToken: true };

/** Finds the sender of an `authorization` header; a promise if that takes time. Throws `unauthenticated`. */
export type FindCaller = (authorization: string | null) => Caller | Promise<Caller>;

/** Verifies credentials by `settings`. Throws if one of their environment variables is not set. */
export function callerFinder(
  settings: AccessSettings,
  { platform, log }: { platform: Pick<Platform, "fetch" | "env">; log: Logger },
): FindCaller {
  if (!isOn(settings)) return () => trusted;
  const { tokens = [], jwt, roles, anonymous } = settings;
  const rulesOf = (names: readonly string[]): AccessRule[] =>
    names.flatMap((name) => (Object.hasOwn(roles, name) ? (roles[name] ?? []) : []));
  // Callers with a token may do what callers without one may do.
  const shared = anonymous === undefined ? [] : rulesOf([anonymous]);
  const nobody = { subject: "anonymous", rules: shared, hasToken: false };
  const known = tokens.map(({ subject, roles, rules, ...token }, i) => ({
    digest: hexBytes(token.sha256 ?? sha256Hex(tokenOf(platform.env, token, `access.tokens[${i}]`) ?? "")),
    caller: { subject, rules: [...rulesOf(roles), ...rules, ...shared], hasToken: true },
  }));
  const jwts = jwt && jwtReader(jwt, { platform, log });
  const verified = new VerifiedTokens<Caller & Validity>();

  const callerOf = async (reader: JwtReader, token: string, digest: string): Promise<Caller> => {
    // The keys before the check, which may fetch others: with those, the token might not be valid.
    const keys = reader.keys();
    const claims = await reader.read(token);
    if (typeof claims === "string") throw unauthenticated(`the bearer token ${claims}`, "invalid_token");
    const { roles, ...about } = claims;
    const caller = { ...about, rules: [...rulesOf(roles), ...shared], hasToken: true };
    if (keys === reader.keys()) verified.set(digest, keys, caller);
    return caller;
  };

  return (authorization) => {
    if (authorization === null) {
      if (anonymous !== undefined) return nobody;
      throw unauthenticated('a bearer token is required, in the header "authorization: Bearer <token>"');
    }
    const token = tokenIn(authorization);
    if (token === undefined) {
      throw unauthenticated('the authorization header must be "Bearer <token>"', "invalid_request");
    }
    const hex = sha256Hex(token);
    const digest = hexBytes(hex);
    // Compares with all tokens, always: the time must not depend on which one is nearly equal.
    const match = known.filter((each) => sameBytes(each.digest, digest))[0];
    if (match) return match.caller;
    if (!jwts || token.split(".").length !== 3) {
      throw unauthenticated("the bearer token is not one that this server knows", "invalid_token");
    }
    return verified.get(hex, jwts.keys()) ?? callerOf(jwts, token, hex);
  };
}

/** The error of a call without valid credentials; `error` as in RFC 6750. */
export function unauthenticated(why: string, error?: "invalid_request" | "invalid_token"): ConnectError {
  return refusal(why, Code.Unauthenticated, error);
}

/** The error of a call that its caller may not make. */
export function forbidden(why: string): ConnectError {
  return refusal(why, Code.PermissionDenied, "insufficient_scope");
}

/** The error of a caller whose rules do not allow `action`. */
export function refusalOf({ subject, hasToken }: Caller, action: string): ConnectError {
  if (!hasToken) return unauthenticated(`without a bearer token no one may ${action}`);
  return forbidden(`${quote(subject)} may not ${action}: no rule of its own allows it`);
}

function refusal(why: string, code: Code, error: string | undefined): ConnectError {
  const challenge = `Bearer realm="fairlead"${error ? `, error="${error}"` : ""}`;
  return new ConnectError(why, code, { "www-authenticate": challenge });
}

const hexBytes = (hex: string): number[] => (hex.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16));
