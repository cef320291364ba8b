import { type IncomingMessage, request as overHttp } from "node:http";
import { request as overHttps } from "node:https";
import { Readable } from "node:stream";

/** A request as fetch would send it if it did not refuse TRACE, and a body with GET. Nothing of the answer is decoded. */
export async function httpRequest(
  url: URL,
  { method = "GET", headers, body, signal }: RequestInit,
): Promise<Response> {
  const request = url.protocol === "https:" ? overHttps : overHttp;
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = new Headers(headers);
    sent.set("accept-encoding", "identity");
    if (body instanceof Uint8Array) sent.set("content-length", String(body.length));
    const options = { method, headers: Object.fromEntries(sent), agent: false } as const;
    request(url, signal ? { ...options, signal } : options)
      .once("response", resolve)
      .once("error", reject)
      .end(body);
  });
  const pairs = Object.entries(answer.headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const content = Readable.toWeb(answer) as unknown as ReadableStream<Uint8Array>;
  return new Response(content, {
    status: answer.statusCode ?? 500,
    statusText: answer.statusMessage ?? "",
    headers: pairs,
  });
}
