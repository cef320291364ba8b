import type { Transport } from "@connectrpc/connect";
import { anyJsonOptions, sendAnyInJson } from "../../rpc/any-in-json.js";
import { HEARTBEAT_HEADER } from "../../rpc/extension-headers.js";
import { lostConnection } from "../../rpc/lost-connection.js";
import { withStreamWatchdog } from "../../rpc/stream-watchdog.js";
import { withErrorMapping } from "../../rpc/with-error-mapping.js";
import { createFailover } from "../failover.js";
import type { ConnectWebOptions, FetchOptions } from "../fetch.js";
import { checkHealth } from "./health-check.js";
import { checkServerUrls } from "./server-urls.js";

/**
 * A transport over fetch to the server at `urls`, or to one of several; `create` makes that to one, with options that
 * replace its own. As fetch does not tell whether a request was sent, a health check precedes the first call to one of
 * several servers. Throws TypeError if a URL occurs twice or there is none.
 */
export function openFetch(
  urls: readonly string[],
  { json = false, registry, interceptors = [], defaultTimeoutMs }: FetchOptions,
  create: (options: Partial<ConnectWebOptions>) => Transport,
): Transport {
  checkServerUrls(urls);
  const options = json
    ? { jsonOptions: anyJsonOptions(registry), interceptors: [...interceptors, sendAnyInJson] }
    : {};
  if (urls.length === 1) return create(options);
  const open = (baseUrl: string) => withErrorMapping(create({ ...options, baseUrl }), lostConnection);
  return createFailover(urls, {
    open: (url) => watchedHere(withStreamWatchdog(open(url))),
    defaultTimeoutMs,
    check: checkHealth,
    checksFirst: true,
  });
}

/**
 * `transport`, whose heartbeats are watched for each server, so that their loss is that of the server. The header that
 * announces them is removed, else the watchdog around all servers would wait for them too.
 */
const watchedHere = (transport: Transport): Transport => ({
  unary: (...args) => transport.unary(...args),
  async stream(...args) {
    const response = await transport.stream(...args);
    const header = new Headers(response.header);
    header.delete(HEARTBEAT_HEADER);
    return { ...response, header };
  },
});
