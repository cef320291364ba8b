import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { text } from "node:stream/consumers";
import { quote } from "../lib/quote.js";
import { isHttpUrl, numberOption, parseCommandLine, UsageError, type Variables } from "./command-line.js";
import { parseSettings } from "./environment.js";
import { reasonOf } from "./error-text.js";
import { SERVE_OPTIONS } from "./serve-options.js";

/** The server itself gives up after 2 s, with the reason. */
const TIMEOUT_MS = 5000;

/**
 * `fairlead health [URL]`: asks `/readyz` of a server. Exit status 1 if it is not ready or does not answer, as the
 * health checks of containers expect it.
 */
export async function healthCommand(args: string[]): Promise<number> {
  const { positionals } = parseCommandLine(args, {}, 1);
  const [given] = positionals;
  if (given !== undefined && !isHttpUrl(given)) {
    throw new UsageError(`the server's URL must begin with http:// or https://, got ${quote(given)}`);
  }
  const url = given ?? ownUrl(process.env);
  const { status, body } = await readyPage(url, given !== undefined);
  if (status === 200) {
    process.stdout.write(`${url} is ready\n`);
    return 0;
  }
  throw new Error(`${url} is not ready: ${whyOf(body) ?? `its answer has status ${status}`}`);
}

/** The URL at which `fairlead serve` listens with the same environment variables and no options. */
function ownUrl(env: Variables): string {
  const { options, nameOf } = parseSettings([], SERVE_OPTIONS, env);
  const port = numberOption(nameOf("port"), options.port, 1, 65_535);
  const isEvery = /^(0\.0\.0\.0|\[?::\]?)$/.test(options.host);
  const host = isEvery ? "127.0.0.1" : options.host;
  const scheme = options["tls-key"] === undefined ? "http" : "https";
  return `${scheme}://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`;
}

/** `isVerified`: whether the certificate must be valid for the URL. That of the own server has another name. */
function readyPage(url: string, isVerified: boolean): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) =>
      reject(new Error(`no server answers at ${quote(url)}: ${reasonOf(error)}`));
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const options = { agent: false, rejectUnauthorized: isVerified, signal };
    const request = url.startsWith("https:") ? requestHttps : requestHttp;
    request(`${url.replace(/\/+$/, "")}/readyz`, options, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), fail);
    })
      .on("error", (error) =>
        fail(signal.aborted ? new Error(`nothing within ${TIMEOUT_MS / 1000} s`) : error),
      )
      .end();
  });
}

/** The reason in the answer of `/readyz`; undefined if the answer is of another server, such as a proxy. */
function whyOf(body: string): string | undefined {
  try {
    const { why } = JSON.parse(body) as { why?: unknown };
    return typeof why === "string" ? why : undefined;
  } catch {
    return undefined;
  }
}
