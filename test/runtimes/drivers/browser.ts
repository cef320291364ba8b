import { createServer } from "node:http";
import { listening } from "../host.js";
import type { Setting, Told } from "../suite/case.js";
import { type Child, whileRunning } from "./child.js";

/** Opens a browser at `url`, with a profile of its own in `folder`. */
export type Launch = (url: string, folder: string) => Child | Promise<Child>;

/** Where in the browser the suite runs. */
export type Within = "page" | "SharedWorker" | "service worker";

/** Runs the suite in a page that `launch` opens, or in a worker of that page. */
export async function runBrowser(
  launch: Launch,
  {
    scripts,
    within,
    folder,
    setting,
    limitMs,
  }: {
    scripts: ReadonlyMap<string, string>;
    within: Within;
    folder: string;
    setting: Setting;
    limitMs: number;
  },
): Promise<Told[]> {
  let tell = (_: string) => {};
  const told = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const origin = createServer(async (request, response) => {
    const { url = "" } = request;
    if (url === "/told") {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      response.end();
      tell(Buffer.concat(chunks).toString());
      return;
    }
    const script = scripts.get(url);
    response.setHeader("content-type", script ? "text/javascript" : "text/html");
    response.end(script ?? '<!doctype html><script type="module" src="/page.js"></script>');
  });
  const url = await listening(origin);
  try {
    const hash = encodeURIComponent(JSON.stringify({ ...setting, within }));
    const child = await launch(`${url}/#${hash}`, folder);
    const answer = JSON.parse(await whileRunning(child, limitMs, told)) as { told: Told[]; error?: string };
    if (answer.error !== undefined) throw new Error(`the page failed: ${answer.error}`);
    return answer.told;
  } finally {
    origin.closeAllConnections();
    origin.close();
  }
}
