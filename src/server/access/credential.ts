import type { Transport } from "@connectrpc/connect";
import { withBearerToken } from "../../rpc/with-bearer-token.js";
import type { Platform } from "../context.js";
import { token } from "./settings.js";

/** A credential in the configuration: at most one of the two. */
export interface Credential {
  token?: string | undefined;
  tokenEnv?: string | undefined;
}

/** The token of `credential`, if it has one. Throws if it names an environment variable without a valid token. */
export function tokenOf(
  env: Platform["env"],
  { token: text, tokenEnv }: Credential,
  at: string,
): string | undefined {
  if (tokenEnv === undefined) return text;
  const { data, error } = token.safeParse(env[tokenEnv]);
  if (data !== undefined) return data;
  const why = env[tokenEnv] === undefined ? "is not set" : error?.issues[0]?.message;
  throw new TypeError(
    `Cannot use this configuration: ${at}.tokenEnv ${JSON.stringify(tokenEnv)}: this environment variable ${why}`,
  );
}

/** `transport` with `token` on its calls, if there is one. */
export function withCredential<T extends Transport>(transport: T, token: string | undefined): T {
  return token === undefined ? transport : { ...transport, ...withBearerToken(transport, token) };
}
