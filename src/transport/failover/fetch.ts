import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  Health,
  type HealthCheckResponse_ServingStatus as Status,
} from "../../../gen/grpc/health/v1/health_pb.js";
import { anyJsonOptions, sendAnyInJson } from "../../rpc/any-in-json.js";
import { HEARTBEAT_HEADER } from "../../rpc/extension-headers.js";
import { lostConnection } from "../../rpc/lost-connection.js";
import { withStreamWatchdog } from "../../rpc/stream-watchdog.js";
import { withErrorMapping } from "../../rpc/with-error-mapping.js";
import { createFailover } from "../failover.js";
import type { ConnectWebOptions, FetchOptions } from "../fetch.js";
import { checkServerUrls } from "./server-urls.js";

/** How long the answer to the check of a server may take, in milliseconds. */
const CHECK_MS = 3000;

// The enum itself would be loaded by every page, with the code that it shares with lazy-chunk.ts.
const UNKNOWN: Status = 0;
const NOT_SERVING: Status = 2;

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

/** Rejects if the server does not answer, or says that it does not serve. Any other answer shows that it is there. */
async function checkHealth(transport: Transport): Promise<void> {
  const client = createClient(Health, transport);
  const { status } = await client.check({}, { timeoutMs: CHECK_MS }).catch(statusOfRefusal);
  if (status === NOT_SERVING) throw new ConnectError("it does not serve now", Code.Unavailable);
}

/** Servers without a health service, or that do not let this client ask, may well serve. */
function statusOfRefusal(error: unknown): { status: Status } {
  const { code } = ConnectError.from(error);
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) throw error;
  return { status: UNKNOWN };
}
