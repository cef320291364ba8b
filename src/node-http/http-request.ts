import { type IncomingMessage, request as overHttp } from "node:http";
import { request as overHttps } from "node:https";
import { Readable } from "node:stream";

/** Sends requests that fetch refuses: TRACE, and GET with a body. The response is not decoded. */
export async function httpRequest(
  url: URL,
  { method = "GET", headers, body, signal }: RequestInit,
): Promise<Response> {
  const request = url.protocol === "https:" ? overHttps : overHttp;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const fields = new Headers(headers);
    fields.set("accept-encoding", "identity");
    if (body instanceof Uint8Array) fields.set("content-length", String(body.length));
    const options = { method, headers: Object.fromEntries(fields), agent: false } as const;
    request(url, signal ? { ...options, signal } : options)
      .once("response", resolve)
      .once("error", reject)
      .end(body);
  });
  const pairs = Object.entries(response.headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const content = Readable.toWeb(response) as unknown as ReadableStream<Uint8Array>;
  return new Response(content, {
    status: response.statusCode ?? 500,
    statusText: response.statusMessage ?? "",
    headers: pairs,
  });
}
