import { once } from "node:events";
import { createJudge, judgePages, verdictTable } from "../conformance/index.js";
import { listen } from "../server/node.js";
import { consoleLog } from "./console-log.js";

/**
 * `fairlead conformance --serve`: judges a client until it posts to /done, or until SIGINT or SIGTERM. Exit status 0:
 * the client handled all scenarios that it tried; 1: it mishandled one; 2: it tried none.
 *
 */
export async function judgeClients(host: string, port: number): Promise<number> {
  const judge = createJudge({ log: consoleLog("warn") });
  const pages = judgePages(judge);
  // The scenarios are public, and no data is stored.
  const at = await listen(judge.server, { host, port, pages, insecure: true, graceMs: 0 });
  process.stderr.write(
    `fairlead: ${judge.scenarios.length} scenarios at ${at.url}/scenarios; ` +
      "POST the client's reports to /scenarios/<id>, then POST /done\n",
  );
  const stop = new AbortController();
  const signals = ["SIGINT", "SIGTERM"].map((name) => once(process, name, { signal: stop.signal }));
  await Promise.race([pages.done, ...signals]);
  stop.abort();
  await Promise.allSettled(signals);
  await at.close();
  const verdicts = judge.verdicts();
  process.stdout.write(verdictTable(verdicts));
  if (verdicts.some(({ status }) => status === "mishandled")) return 1;
  return verdicts.some(({ status }) => status === "handled") ? 0 : 2;
}
