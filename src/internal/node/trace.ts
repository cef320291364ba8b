import { type IncomingMessage, request as overHttp } from "node:http";
import { request as overHttps } from "node:https";
import { Readable } from "node:stream";

/** A TRACE request as fetch would send it if it did not refuse the method. */
export async function trace(url: URL, { headers, signal }: RequestInit): Promise<Response> {
  const request = url.protocol === "https:" ? overHttps : overHttp;
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = {
      method: "TRACE",
      headers: Object.fromEntries(new Headers(headers)),
      agent: false,
    } as const;
    request(url, signal ? { ...options, signal } : options)
      .once("response", resolve)
      .once("error", reject)
      .end();
  });
  const pairs = Object.entries(answer.headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const body = Readable.toWeb(answer) as unknown as ReadableStream<Uint8Array>;
  return new Response(body, {
    status: answer.statusCode ?? 500,
    statusText: answer.statusMessage ?? "",
    headers: pairs,
  });
}
