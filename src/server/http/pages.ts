import { TUNNEL_PATH } from "../../tunnel/socket/web-socket.js";
import type { Readiness } from "./readiness.js";

/** The answer of a page, which every entry point sends alike. */
interface PageResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A page that every server has beside its calls. */
export interface ServerPage {
  readonly path: string;
  /** Whether scripts of the origins in the configuration's `cors` may read it. */
  readonly hasCors: boolean;
  /** Whether a port still serves it while it closes. */
  readonly isServedWhileClosing: boolean;
  /** Answers GET and HEAD. `authorization` is the request's header of that name. */
  respond(authorization: string | null): Promise<PageResponse>;
}

/** The methods of every page; others are answered 405. */
export const PAGE_METHODS: readonly string[] = ["GET", "HEAD", "OPTIONS"];

/** The pages by their paths. */
export type ServerPages = ReadonlyMap<string, ServerPage>;

/** The state of a server that its pages show. */
export interface PageSources {
  readiness(): Promise<Readiness>;
  /** The page of `/metrics`, or 401 if `authorization` holds no token that the server knows. */
  metrics(authorization: string | null): Promise<PageResponse>;
}

/**
 * The one table of the server's pages: listen() (HTTP/1.1 and HTTP/2) and server.fetch() serve exactly these. None of
 * them may be cached. Only `/metrics` asks for credentials, and only if `access` is on. Scrapers need no CORS, and
 * scripts of other origins have no business with metrics, so it sends none.
 */
export function serverPages({ readiness, metrics }: PageSources): ServerPages {
  const pages: ServerPage[] = [
    {
      path: "/healthz",
      hasCors: true,
      isServedWhileClosing: true,
      respond: async () => json(200, { status: "ok" }),
    },
    {
      path: "/readyz",
      hasCors: true,
      isServedWhileClosing: true,
      respond: async () => {
        const state = await readiness();
        return state.ready
          ? json(200, { status: "ready" })
          : json(503, { status: "not ready", why: state.why });
      },
    },
    { path: "/metrics", hasCors: false, isServedWhileClosing: false, respond: metrics },
    {
      path: TUNNEL_PATH,
      hasCors: true,
      isServedWhileClosing: false,
      respond: async () => UPGRADE_REQUIRED,
    },
  ];
  return new Map(pages.map((page) => [page.path, page]));
}

const json = (status: number, body: Record<string, string>): PageResponse => ({
  status,
  headers: { "content-type": "application/json" },
  body: `${JSON.stringify(body)}\n`,
});

/** The answer to a plain request at the tunnel's path: the client asked for no WebSocket, or a proxy dropped that. */
const UPGRADE_REQUIRED: PageResponse = {
  status: 426,
  headers: { "content-type": "text/plain", upgrade: "websocket" },
  body:
    "the tunnel is a WebSocket, and this request asks for none: " +
    "a proxy in between has to pass Upgrade and Connection on\n",
};
