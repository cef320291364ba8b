import { isLoopback } from "../../lib/loopback.js";
import type { Config } from "../config/config.js";
import { isOn } from "./settings.js";

/** Throws a TypeError if other machines could call a server without access control. */
export function requireAccess(host: string, { access }: Pick<Config, "access">, insecure: boolean): void {
  if (insecure || isLoopback(host) || isOn(access)) return;
  throw new TypeError(
    `Cannot listen on ${JSON.stringify(host)}: whoever reaches it could read and change everything. ` +
      "Say who may call in the configuration's `access` (tokens, jwt or anonymous), listen on 127.0.0.1, " +
      "or accept it with `insecure: true` (--insecure on the command line)",
  );
}
