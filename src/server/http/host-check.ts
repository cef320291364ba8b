import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { isLoopback } from "../../lib/loopback.js";
import { quote } from "../../lib/quote.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import { sendRefusal } from "../access/refusal.js";
import { VERSION } from "../calls/error-mapping.js";
import type { Cors } from "./cors.js";

/** The host and the origin of a request. */
interface Addressed {
  /** The `Host` header, or `:authority` of HTTP/2. Undefined or empty: none. */
  readonly host: string | undefined;
  /** The `Origin` header: browsers send one, other clients seldom do. */
  readonly origin: string | null | undefined;
  /** Whether it is a preflight, which any page may send: it has no effect. */
  readonly isPreflight?: boolean;
}

/** The refusal of a request, with its HTTP status. */
export interface HostRefusal {
  readonly status: 400 | 403 | 421;
  readonly error: ConnectError;
}

/**
 * Refuses requests that web pages can send but may not: for a name that is not this server's and that an attacker has
 * pointed here ("DNS rebinding"), and from a page of another origin. Undefined: the request is allowed.
 */
export type HostCheck = (request: Addressed) => HostRefusal | undefined;

interface HostCheckOptions {
  /** The names of the server beside those of this machine. Undefined: `onLoopback` decides. */
  hosts: readonly string[] | undefined;
  /** Which pages of other origins may call. */
  cors: Cors;
  /** Whether only this machine can reach the server: without `hosts`, only names of this machine are allowed then. */
  onLoopback: boolean;
}

/** Makes the check of every entry point: HTTP/1.1, HTTP/2, the tunnel's upgrade and fetch(). */
export function hostCheck({ hosts, cors, onLoopback }: HostCheckOptions): HostCheck {
  const isOurs = (name: string): boolean => {
    if (!onLoopback && !hosts) return true;
    if (isLoopbackName(name)) return true;
    // Addresses cannot be rebound, and orchestrators send their probes to them.
    if (!onLoopback && isAddress(name)) return true;
    return (hosts ?? []).some((each) =>
      each.startsWith("*.") ? name.endsWith(each.slice(1)) : name === each,
    );
  };
  // Most requests name the host that the one before has named.
  let lastAccepted: string | undefined;
  const refuseHost = (host: string): HostRefusal | undefined => {
    if (!URL.canParse(`http://${host}`)) {
      const error = new ConnectError("the host header must name a host", Code.InvalidArgument);
      return { status: 400, error };
    }
    if (!isOurs(nameIn(host))) {
      const why = `the host ${quote(host)} is not one of this server's: add its name to hosts in the configuration`;
      return { status: 421, error: refusal(why) };
    }
    lastAccepted = host;
    return undefined;
  };
  return ({ host, origin, isPreflight = false }) => {
    // Browsers always send a host; a probe by HTTP/1.0 may have none.
    const refused = host && host !== lastAccepted ? refuseHost(host) : undefined;
    if (refused) return refused;
    if (isPreflight || !origin || cors.allows(origin) || isSameOrigin(origin, host)) return undefined;
    return { status: 403, error: refusal(`pages of ${quote(origin)} are not in cors.origins`) };
  };
}

/**
 * The response to a refused request. A 403 is sent in the request's protocol. The others are sent as JSON, because the
 * protocols of gRPC would replace their status by 200.
 */
export function refusedByHost({ status, error }: HostRefusal, header: Headers): UniversalServerResponse {
  return status === 403
    ? sendRefusal({ header }, error)
    : { ...sendRefusal({ header: new Headers() }, error), status };
}

const refusal = (why: string): ConnectError =>
  new ConnectError(why, Code.PermissionDenied, { [SERVER_HEADER]: VERSION });

/** The name or address in a `Host` header, without the port. */
function nameIn(host: string): string {
  const [name = ""] = /^(\[[^\]]*\]|[^:]*)/.exec(host.toLowerCase()) ?? [];
  return name.replace(/\.$/, "");
}

const isLoopbackName = (name: string): boolean => isLoopback(name) || name.endsWith(".localhost");

const isAddress = (name: string): boolean => /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\])$/.test(name);

/** Whether the page came from the host that it calls. The schemes may differ: a proxy may terminate TLS. */
const isSameOrigin = (origin: string, host = ""): boolean =>
  host !== "" && /^https?:\/\//.test(origin) && bare(origin.replace(/^https?:\/\//, "")) === bare(host);

/** The host without a default port, which browsers leave out. */
const bare = (host: string): string => host.toLowerCase().replace(/:(80|443)$/, "");
