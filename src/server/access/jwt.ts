import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from "jose";
import type { Logger, Platform } from "../context.js";
import { RemoteKeys } from "./jwks.js";
import type { AccessSettings } from "./settings.js";
import type { Validity } from "./verified.js";

export type JwtSettings = NonNullable<AccessSettings["jwt"]>;

/** The claims of a valid token about its subject. */
interface Claimed extends Validity {
  subject: string;
  roles: string[];
}

/** Checks JWTs. */
export interface JwtReader {
  /** Verifies a token; returns a text if it is not valid. Rejects with `unavailable` if the keys cannot be fetched. */
  read(token: string): Promise<Claimed | string>;
  /** The current keys: another object after a fetch of other keys. Undefined: they have to be fetched first. */
  keys(): object | undefined;
}

/** Verifies JWTs with their issuer's public keys. The first token loads the library and the keys. */
export function jwtReader(
  settings: JwtSettings,
  { platform, log }: { platform: Pick<Platform, "fetch">; log: Logger },
): JwtReader {
  const { issuer, audience, subjectClaim, roleClaim, algorithms, clockToleranceMs } = settings;
  const options: JWTVerifyOptions = {
    issuer,
    audience,
    algorithms,
    clockTolerance: clockToleranceMs / 1000,
    requiredClaims: ["exp", subjectClaim],
  };
  let opened: Promise<Opened> | undefined;
  let keys: Opened["keys"] = () => undefined;
  return {
    async read(token) {
      opened ??= open(settings, platform, log);
      const { jose, key, ...rest } = await opened;
      keys = rest.keys;
      try {
        const { payload } = await verified(jose, token, key, options);
        const subject = payload[subjectClaim];
        if (typeof subject !== "string") return `has no text in the claim "${subjectClaim}"`;
        return { subject, roles: rolesIn(payload, roleClaim), ...validity(payload, clockToleranceMs) };
      } catch (error) {
        if (error instanceof jose.errors.JOSEError) return problemOf(error);
        throw error;
      }
    },
    keys: () => keys(),
  };
}

type Jose = typeof import("jose");
type Opened = { jose: Jose; key: JWTVerifyGetKey; keys: JwtReader["keys"] };

/** When a verified token is valid, with the tolerance between the clocks. */
function validity({ exp = 0, nbf }: JWTPayload, toleranceMs: number): Validity {
  const fromMs = nbf === undefined ? Number.NEGATIVE_INFINITY : nbf * 1000 - toleranceMs;
  return { fromMs, expiresAtMs: exp * 1000 + toleranceMs };
}

async function open(
  { jwks, jwksUrl = "", cacheMaxAgeMs, cooldownMs }: JwtSettings,
  platform: Pick<Platform, "fetch">,
  log: Logger,
): Promise<Opened> {
  const jose = await import("jose");
  if (jwks) return { jose, key: jose.createLocalJWKSet(jwks), keys: () => jwks };
  const remote = new RemoteKeys({ jwksUrl, cacheMaxAgeMs, cooldownMs, jose, platform, log });
  return { jose, key: remote.find, keys: () => remote.current() };
}

/** Verifies with the one key that matches, or with each of several. */
async function verified(jose: Jose, token: string, key: JWTVerifyGetKey, options: JWTVerifyOptions) {
  try {
    return await jose.jwtVerify(token, key, options);
  } catch (error) {
    if (!(error instanceof jose.errors.JWKSMultipleMatchingKeys)) throw error;
    for await (const each of error) {
      try {
        return await jose.jwtVerify(token, each, options);
      } catch (inner) {
        if (!(inner instanceof jose.errors.JWSSignatureVerificationFailed)) throw inner;
      }
    }
    throw new jose.errors.JWSSignatureVerificationFailed();
  }
}

/** The roles in the claim of that name; if there is none, the dots in the name lead into objects. */
function rolesIn(payload: JWTPayload, claim: string): string[] {
  const inside = (value: unknown, part: string): unknown =>
    typeof value === "object" && value !== null && Object.hasOwn(value, part)
      ? (value as Record<string, unknown>)[part]
      : undefined;
  const roles = inside(payload, claim) ?? claim.split(".").reduce<unknown>(inside, payload);
  if (typeof roles === "string") return roles.split(" ").filter((role) => role !== "");
  return Array.isArray(roles) ? roles.filter((role) => typeof role === "string") : [];
}

/** The reason why a token is not valid, without any part of the token. */
function problemOf(error: { code: string; claim?: unknown }): string {
  switch (error.code) {
    case "ERR_JWT_EXPIRED":
      return "has expired";
    case "ERR_JWT_CLAIM_VALIDATION_FAILED":
      if (error.claim === "nbf") return "is not valid yet";
      return `has not the ${CLAIMS.get(String(error.claim)) ?? `claim "${error.claim}"`} that is asked for`;
    case "ERR_JWKS_NO_MATCHING_KEY":
    case "ERR_JWS_SIGNATURE_VERIFICATION_FAILED":
      return "is not signed with a key of the issuer";
    case "ERR_JOSE_ALG_NOT_ALLOWED":
      return "is signed with an algorithm that is not allowed";
    default:
      return "is no valid JWT";
  }
}

const CLAIMS = new Map([
  ["aud", 'audience (claim "aud")'],
  ["iss", 'issuer (claim "iss")'],
  ["exp", 'time of expiry (claim "exp")'],
]);
