import { Code, ConnectError } from "@connectrpc/connect";
import { sameBytes, tokenIn } from "../../rpc/bearer-token.js";
import type { Log, Platform } from "../context.js";
import { tokenOf } from "./credential.js";
import { type JwtReader, jwtReader } from "./jwt.js";
import type { Rule } from "./rules.js";
import { type AccessSettings, isOn, sha256Hex } from "./settings.js";
import { type Validity, Verified } from "./verified.js";

/** Who a call comes from. */
export interface Caller {
  /** As the configuration or the token's issuer calls it. */
  readonly subject: string;
  readonly rules: readonly Rule[];
  /** Without a token, it may be that all it lacks is one. */
  readonly hasToken: boolean;
  /** When its token expires, in Unix milliseconds. Default: never. */
  readonly expiresAtMs?: number;
}

const everything: readonly Rule[] = [{ primitive: "*", verbs: ["*"] }];

/** This process itself, and whoever calls a server that asks for no credentials. */
export const trusted: Caller = { subject: "trusted", rules: everything, hasToken: true };

/** Finds out who sent an `authorization` header. What cannot be known at once is a promise. Throws `unauthenticated`. */
export type FindCaller = (authorization: string | null) => Caller | Promise<Caller>;

/** Reads the credentials that `settings` know. Throws where one of them is to come from an environment that has none. */
export function callers(
  settings: AccessSettings,
  { platform, log }: { platform: Pick<Platform, "fetch" | "env">; log: Log },
): FindCaller {
  if (!isOn(settings)) return () => trusted;
  const { tokens = [], jwt, roles, anonymous } = settings;
  const rulesOf = (names: readonly string[]): Rule[] =>
    names.flatMap((name) => (Object.hasOwn(roles, name) ? (roles[name] ?? []) : []));
  // Whoever may call without a token may do the same with one.
  const shared = anonymous === undefined ? [] : rulesOf([anonymous]);
  const nobody = { subject: "anonymous", rules: shared, hasToken: false };
  const known = tokens.map(({ subject, roles, rules, ...token }, i) => ({
    digest: hexBytes(token.sha256 ?? sha256Hex(tokenOf(platform.env, token, `access.tokens[${i}]`) ?? "")),
    caller: { subject, rules: [...rulesOf(roles), ...rules, ...shared], hasToken: true },
  }));
  const jwts = jwt && jwtReader(jwt, { platform, log });
  const verified = new Verified<Caller & Validity>();

  const claimed = async (reader: JwtReader, token: string, digest: string): Promise<Caller> => {
    // Those that were there before the check: it may fetch others, with which it would not be good.
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
    // All of them, always: how long it takes tells nothing of which one was nearly right.
    const found = known.filter((each) => sameBytes(each.digest, digest))[0];
    if (found) return found.caller;
    if (!jwts || token.split(".").length !== 3) {
      throw unauthenticated("the bearer token is not one that this server knows", "invalid_token");
    }
    return verified.get(hex, jwts.keys()) ?? claimed(jwts, token, hex);
  };
}

/** A call that has no right to be let in before it says who it comes from; `error` as in RFC 6750. */
export function unauthenticated(why: string, error?: "invalid_request" | "invalid_token"): ConnectError {
  return refusal(why, Code.Unauthenticated, error);
}

/** A call that its sender may not make. */
export function forbidden(why: string): ConnectError {
  return refusal(why, Code.PermissionDenied, "insufficient_scope");
}

function refusal(why: string, code: Code, error: string | undefined): ConnectError {
  const challenge = `Bearer realm="fairlead"${error ? `, error="${error}"` : ""}`;
  return new ConnectError(why, code, { "www-authenticate": challenge });
}

const hexBytes = (hex: string): number[] => (hex.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16));
