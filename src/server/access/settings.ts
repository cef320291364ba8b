import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { z } from "zod";
import { isToken, TOKEN_FORM } from "../../rpc/bearer-token.js";
import { PRIMITIVE_NAMES, type Primitive, primitiveSpelled } from "../primitives.js";
import { rpcsOf } from "./permissions.js";

/** The shortest token, in characters. */
const MIN_TOKEN_LENGTH = 16;

const text = z.string().min(1, "must not be empty");
const milliseconds = z.number("must be a number of milliseconds").nonnegative("must not be below 0");
const atLeastOne = <T extends z.ZodType>(item: T) => z.array(item).min(1, "must have at least one");
const oneOrMore = z.union([text, atLeastOne(text)], { error: "must be a text or a list of texts" });

/** An http or https URL without credentials in it. */
export const httpUrl = z
  .url({ protocol: /^https?$/, error: "must be an http or https URL" })
  .refine(hasNoPassword, { error: "must not contain a user or a password", params: { secret: true } });

/** A bearer token. Error messages never contain it. */
export const token = z
  .string()
  .min(MIN_TOKEN_LENGTH, `must have at least ${MIN_TOKEN_LENGTH} characters`)
  .refine(isToken, { error: TOKEN_FORM, params: { secret: true } });

/** The settings of a credential that this server sends to another server. */
export const credential = {
  token: token.optional().describe("The bearer token that it is called with. Left out: none."),
  tokenEnv: text
    .optional()
    .describe("The environment variable that holds the token, in the place of `token`."),
};

/** Whether the settings of a credential have at most one token. */
export const oneCredential = ({ token, tokenEnv }: { token?: unknown; tokenEnv?: unknown }): boolean =>
  token === undefined || tokenEnv === undefined;

export const ONE_CREDENTIAL = "must have token or tokenEnv, not both";

const primitives = [...PRIMITIVE_NAMES, "*"] as const;

const rule = z
  .strictObject({
    primitive: z.preprocess(
      (spelling: Primitive | "*") => primitiveSpelled(spelling) ?? spelling,
      z
        .enum(primitives, { error: `must be one of ${primitives.join(", ")}` })
        .describe("What it is about; * for everything."),
    ),
    store: z
      .string()
      .min(1, "must not be empty: leave it out for every store")
      .optional()
      .describe("A store's name, or with * at the end all that begin so. Left out: every store."),
    group: z
      .string()
      .min(1, "must not be empty: leave it out for every group")
      .optional()
      .describe(
        "For pubsub: a consumer group's name, or with * at the end all that begin so. Left out: every group. " +
          "A group that is called like an app always needs that app's right: service, its name, OnTopicEvent.",
      ),
    keys: z
      .string()
      .min(1, "must not be empty: leave it out for every key")
      .optional()
      .describe(
        "For gossipMap: a key, or with * at the end all that begin so. A member receives the keys that it may read, " +
          "and may change those that it may both read and write. Left out: every key.",
      ),
    verbs: atLeastOne(z.string()).describe('"read", "write", the names of single RPCs, or "*" for all.'),
  })
  .superRefine(({ primitive, group, keys, verbs }, { addIssue }) => {
    if (keys !== undefined && primitive !== "gossipMap") {
      addIssue({
        code: "custom",
        path: ["keys"],
        message: 'must be left out: only "gossipMap" has rules by key',
      });
    }
    if (group !== undefined && primitive !== "pubsub") {
      addIssue({ code: "custom", path: ["group"], message: 'must be left out: only "pubsub" has groups' });
    }
    const known = ["read", "write", "*", ...rpcsOf(primitive)];
    for (const [i, verb] of verbs.entries()) {
      if (known.includes(verb)) continue;
      addIssue({ code: "custom", path: ["verbs", i], message: `must be one of ${known.join(", ")}` });
    }
  });

const staticToken = z
  .strictObject({
    token: token.optional().describe("The token itself."),
    tokenEnv: text.optional().describe("The environment variable that holds the token."),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, "must be 64 hex digits, in lower case")
      .optional()
      .describe("The SHA-256 of the token, in hex: of no use to who reads this file."),
    subject: text.describe("Who it is, for log lines and error messages."),
    roles: z.array(z.string()).default([]).describe("What it may do, by the names of roles."),
    rules: z.array(rule).default([]).describe("What it may do beside that."),
  })
  .refine(({ token, tokenEnv, sha256 }) => [token, tokenEnv, sha256].filter(Boolean).length === 1, {
    error: "must have one of token, tokenEnv and sha256",
  })
  .refine(({ roles, rules }) => roles.length + rules.length > 0, {
    error: "must have roles or rules: without them it may do nothing",
  });

/** All algorithms with public keys. With a shared secret, everyone who can verify a token could make one. */
const ALGORITHMS = [
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
  "RS256",
  "RS384",
  "RS512",
  "EdDSA",
  "Ed25519",
] as const;

const jwt = z
  .strictObject({
    issuer: oneOrMore.describe(
      "The claim `iss` that a token must have, or several of which it must have one.",
    ),
    audience: oneOrMore.describe(
      "The claim `aud` that it must have: a token for another service is none here.",
    ),
    jwksUrl: httpUrl
      .optional()
      .describe("Where the issuer's public keys are; fetched with the first token, and kept."),
    jwks: z
      .strictObject({
        keys: atLeastOne(z.looseObject({ kty: text.describe("Its type: RSA, EC, OKP.") })).describe(
          "The keys.",
        ),
      })
      .optional()
      .describe("The issuer's public keys themselves, a JSON Web Key Set."),
    algorithms: atLeastOne(z.enum(ALGORITHMS, { error: `must be one of ${ALGORITHMS.join(", ")}` }))
      .default([...ALGORITHMS])
      .describe("How a token may be signed."),
    subjectClaim: text.default("sub").describe("The claim that says who it is."),
    roleClaim: text
      .default("roles")
      .describe(
        "The claim with the roles: a list, or a text with spaces between them. Dots lead into objects.",
      ),
    clockToleranceMs: milliseconds.default(5000).describe("How far the issuer's clock may be off."),
    cacheMaxAgeMs: milliseconds
      .default(600_000)
      .describe("How long keys are used before they are fetched again."),
    cooldownMs: milliseconds
      .default(30_000)
      .describe("How long after a fetch a token with an unknown key leads to no other."),
  })
  .refine(({ jwksUrl, jwks }) => (jwksUrl === undefined) !== (jwks === undefined), {
    error: "must have one of jwksUrl and jwks",
  });

/** The settings of access control. */
export const access = z
  .strictObject({
    tokens: atLeastOne(staticToken).optional().describe("The bearer tokens that are known here."),
    jwt: jwt.optional().describe("Whose JWTs are taken as bearer tokens."),
    roles: z
      .record(z.string().min(1), z.array(rule))
      .default({})
      .describe("What each role may do; what no rule allows is forbidden."),
    anonymous: z
      .string()
      .optional()
      .describe("The role of calls without a token. Left out: there must be one."),
    secretsFromBrowsers: z
      .boolean()
      .default(false)
      .describe(
        "Whether web pages may read secrets. Those of any origin can call a server on the same machine.",
      ),
  })
  .superRefine(({ tokens = [], jwt, roles, anonymous }, { addIssue }) => {
    const names = Object.keys(roles);
    const wrong = (path: (string | number)[], message: string) => addIssue({ code: "custom", path, message });
    const known = (role: string, path: (string | number)[]) => {
      if (!names.includes(role))
        wrong(path, `is not among roles; those that are: ${names.join(", ") || "none"}`);
    };
    if (anonymous !== undefined) known(anonymous, ["anonymous"]);
    for (const [i, token] of tokens.entries()) {
      for (const [j, role] of token.roles.entries()) known(role, ["tokens", i, "roles", j]);
    }
    if (names.length > 0 && tokens.length === 0 && !jwt && anonymous === undefined) {
      wrong(["roles"], "are nobody's: there must be tokens, jwt or anonymous as well");
    }
  });

export type AccessSettings = z.output<typeof access>;

/** Whether access control is on. */
export const isOn = ({ tokens, jwt, anonymous }: AccessSettings): boolean =>
  tokens !== undefined || jwt !== undefined || anonymous !== undefined;

/** `settings` with the hashes of tokens instead of the tokens, so that nothing can reveal them. */
export function withoutTokens({ tokens, ...settings }: AccessSettings): AccessSettings {
  if (!tokens) return settings;
  const hashed = tokens.map(({ token, ...rest }) => {
    return token === undefined ? rest : { ...rest, sha256: sha256Hex(token) };
  });
  return { ...settings, tokens: hashed };
}

/** The hash by which a token is stored and found. */
export const sha256Hex = (token: string): string => bytesToHex(sha256(new TextEncoder().encode(token)));

function hasNoPassword(url: string): boolean {
  return !URL.canParse(url) || new URL(url).username + new URL(url).password === "";
}
