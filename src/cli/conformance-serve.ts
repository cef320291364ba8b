import { once } from "node:events";
import { createJudge, judgePages, verdictTable } from "../conformance/index.js";
import { listen } from "../server/node.js";
import { consoleLog } from "./console-log.js";

/**
 * `fairlead conformance --serve`: judges a client until it says that it is done, or SIGINT or SIGTERM. 0 where it handled
 * all that it tried, 1 where it mishandled something, 2 where it tried nothing.
 */
export async function judgeClients(host: string, port: number): Promise<number> {
  const judge = createJudge({ log: consoleLog("warn") });
  const pages = judgePages(judge);
  // What is played is no secret, and nothing is kept.
  const at = await listen(judge.server, { host, port, pages, insecure: true, graceMs: 0 });
  process.stderr.write(
    `fairlead: ${judge.scenarios.length} scenarios at ${at.url}/scenarios; POST what the client saw to /scenarios/<id>, and /done\n`,
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
