import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** Pages of your own on the server's port, beside the calls. */
export interface Pages {
  /** The first segments of their paths, without slashes: ["report"] is `/report` and everything below it. */
  readonly paths: readonly string[];
  /** Answers a request for one of them. An error becomes a response with status 500. */
  fetch(request: Request): Promise<Response>;
}

/** The largest request body that a page receives, in bytes; a larger one is answered 413. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** Whether `path` belongs to the `pages`. */
export const isCustomPage = ({ paths }: Pages, path: string): boolean =>
  paths.includes(path.split("/")[1] ?? "");

/** Answers a request for one of the `pages`; an error becomes a response with status 500. */
export async function answerCustomPage(
  pages: Pages,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
): Promise<void> {
  try {
    const answer = await fetchPage(pages, request);
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(new Uint8Array(await answer.arrayBuffer()));
  } catch (error) {
    if (!response.headersSent) response.writeHead(500, { "content-type": "text/plain" });
    response.end(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}

async function fetchPage(pages: Pages, request: Http2ServerRequest): Promise<Response> {
  const { method, url, headers } = request;
  const body = await readBody(request);
  if (!body) return new Response(`a page takes at most ${MAX_BODY_BYTES} bytes\n`, { status: 413 });
  // HTTP/2 has the method, the path and the like among the headers.
  const fields = Object.entries(headers).filter(([name]) => !name.startsWith(":"));
  return pages.fetch(
    new Request(new URL(url, "http://localhost"), {
      method,
      headers: fields.map(([name, value]) => [name, String(value)] as [string, string]),
      ...(body.length > 0 && { body }),
    }),
  );
}

/** The whole body of a request; undefined if it is too large. */
async function readBody(request: Http2ServerRequest): Promise<Buffer<ArrayBuffer> | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
