import { createServer } from "node:http";
import { listening } from "../host.js";
import type { CaseResult, Setting } from "../suite/case.js";
import { type Child, whileRunning } from "./child.js";

/** Opens a browser at `url`, with a new profile in `folder`. */
export type Launch = (url: string, folder: string) => Child | Promise<Child>;

/** The context in the browser that runs the suite. */
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
): Promise<CaseResult[]> {
  let onReport = (_: string) => {};
  const reported = new Promise<string>((resolve) => {
    onReport = resolve;
  });
  const origin = createServer(async (request, response) => {
    const { url = "" } = request;
    if (url === "/results") {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      response.end();
      onReport(Buffer.concat(chunks).toString());
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
    const report = JSON.parse(await whileRunning(child, limitMs, reported)) as {
      results: CaseResult[];
      error?: string;
    };
    if (report.error !== undefined) throw new Error(`the page failed: ${report.error}`);
    return report.results;
  } finally {
    origin.closeAllConnections();
    origin.close();
  }
}
