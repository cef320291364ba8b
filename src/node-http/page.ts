import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** Pages beside the calls, each answered as fetch would have it. */
export interface Pages {
  /** The first segments of the paths that they have, without slashes: ["report"] is `/report` and all below it. */
  readonly paths: readonly string[];
  /** Answers a request for one of them. */
  fetch(request: Request): Promise<Response>;
}

/** The most that a page is sent, in bytes: more is refused. */
const MOST_BYTES = 4 * 1024 * 1024;

/** Whether `path` is one of the `pages`. */
export const isPage = ({ paths }: Pages, path: string): boolean => paths.includes(path.split("/")[1] ?? "");

/** Answers a request for one of the `pages`; what they throw is told as 500. */
export async function answerPage(
  pages: Pages,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
): Promise<void> {
  try {
    const answer = await asked(pages, request);
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(new Uint8Array(await answer.arrayBuffer()));
  } catch (error) {
    if (!response.headersSent) response.writeHead(500, { "content-type": "text/plain" });
    response.end(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}

async function asked(pages: Pages, request: Http2ServerRequest): Promise<Response> {
  const { method, url, headers } = request;
  const body: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Uint8Array>) {
    bytes += piece.length;
    if (bytes > MOST_BYTES)
      return new Response(`a page takes at most ${MOST_BYTES} bytes\n`, { status: 413 });
    body.push(piece);
  }
  const named = Object.entries(headers).filter(([name]) => !name.startsWith(":"));
  return pages.fetch(
    new Request(new URL(url, "http://localhost"), {
      method,
      headers: named.map(([name, value]) => [name, String(value)] as [string, string]),
      ...(bytes > 0 && { body: Buffer.concat(body) }),
    }),
  );
}
