import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { isLoopback } from "../../lib/loopback.js";
import { quote } from "../../lib/quote.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import { sendRefusal } from "../access/refusal.js";
import { VERSION } from "../calls/error-mapping.js";
import type { Cors } from "./cors.js";

/** What a request says of where it goes and which page sent it. */
interface Addressed {
  /** The `Host` header, or `:authority` of HTTP/2. Undefined or empty: it has none. */
  readonly host: string | undefined;
  /** The `Origin` header: browsers send it, others seldom do. */
  readonly origin: string | null | undefined;
  /** Whether it is a preflight: it has no effect, and its answer tells the browser what it may send. */
  readonly isPreflight?: boolean;
}

/** A request that is not let in, with the HTTP status that says so. */
export interface HostRefusal {
  readonly status: 400 | 403 | 421;
  readonly error: ConnectError;
}

/**
 * Refuses what a web page may send without a right to: a request for a name that is not this server's, which someone has
 * pointed here ("DNS rebinding"), and one from a page of another origin. Undefined: the request is let in.
 */
export type HostCheck = (request: Addressed) => HostRefusal | undefined;

interface HostCheckOptions {
  /** The names that the server answers to beside those of this machine. Undefined: as `onLoopback` says. */
  hosts: readonly string[] | undefined;
  /** Which pages of other origins may call. */
  cors: Cors;
  /** Whether only this machine can reach the server: then, without `hosts`, only the names of this machine are its own. */
  onLoopback: boolean;
}

/** Makes the check that every entry point has: HTTP/1.1, HTTP/2, the tunnel's upgrade and fetch(). */
export function hostCheck({ hosts, cors, onLoopback }: HostCheckOptions): HostCheck {
  const isOurs = (name: string): boolean => {
    if (!onLoopback && !hosts) return true;
    if (isLoopbackName(name)) return true;
    // Nobody can point an address elsewhere, so that is no rebinding; orchestrators send their probes to one.
    if (!onLoopback && isAddress(name)) return true;
    return (hosts ?? []).some((each) =>
      each.startsWith("*.") ? name.endsWith(each.slice(1)) : name === each,
    );
  };
  return ({ host, origin, isPreflight = false }) => {
    // What has no host no browser has sent: a probe by HTTP/1.0 may have none.
    if (host && !URL.canParse(`http://${host}`)) {
      return {
        status: 400,
        error: new ConnectError("the host header must name a host", Code.InvalidArgument),
      };
    }
    if (host && !isOurs(nameIn(host))) {
      const why = `the host ${quote(host)} is not one of this server's: add its name to hosts in the configuration`;
      return { status: 421, error: refusal(why) };
    }
    if (isPreflight || !origin || cors.allows(origin) || isSameOrigin(origin, host)) return undefined;
    return { status: 403, error: refusal(`pages of ${quote(origin)} are not in cors.origins`) };
  };
}

/** The answer to a request that is refused: in its own protocol, where that leaves the status alone. */
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

/** Whether the page came from the very host that it calls; a proxy may have taken the TLS off. */
const isSameOrigin = (origin: string, host = ""): boolean =>
  host !== "" && /^https?:\/\//.test(origin) && bare(origin.replace(/^https?:\/\//, "")) === bare(host);

/** A host without a port that browsers leave out. */
const bare = (host: string): string => host.toLowerCase().replace(/:(80|443)$/, "");
