import type { Config } from "../config.js";
import { isOn } from "./settings.js";

/** Whether only this machine can reach what listens on `host`. An empty one is every address. */
export const isLoopback = (host: string): boolean =>
  /^(localhost|127(\.\d{1,3}){3}|(0*:)+0*1|::ffff:127(\.\d{1,3}){3})$/i.test(
    host.replace(/^\[(.*)\]$/, "$1"),
  );

/** Refuses to let others than this machine call a server that asks no one who they are. */
export function checkHost(host: string, { access }: Pick<Config, "access">, insecure: boolean): void {
  if (insecure || isLoopback(host) || isOn(access)) return;
  throw new TypeError(
    `Cannot listen on ${JSON.stringify(host)}: whoever reaches it could read and change everything. ` +
      "Say who may call in the configuration's `access` (tokens, jwt or anonymous), listen on 127.0.0.1, " +
      "or accept it with `insecure: true` (--insecure on the command line)",
  );
}
