import { createClient } from "../index.js";
import { quote } from "../lib/quote.js";
import { createNodeTransport, type NodeTransportOptions } from "../node.js";
import { isHttpUrl, parseCommandLine, UsageError } from "./command-line.js";
import { reasonOf } from "./error-text.js";
import { requireOneReachable } from "./reachable.js";
import { openTourServer } from "./tour-server.js";
import { Skipped, STEPS } from "./tour-steps.js";

/** The transports. HTTP/1.1 cannot carry bidirectional streams. */
const WAYS: { name: string; options: NodeTransportOptions }[] = [
  { name: "Connect over HTTP/2", options: {} },
  { name: "gRPC over HTTP/2", options: { protocol: "grpc" } },
  { name: "gRPC-Web over HTTP/2", options: { protocol: "grpc-web" } },
  { name: "Connect over HTTP/1.1, JSON", options: { httpVersion: "1.1", json: true } },
];

/** The timeout of one step. */
const STEP_MS = 20_000;

/** `fairlead tour`: calls every primitive over every protocol. Exit status 1 if a step fails. */
export async function tourCommand(args: string[]): Promise<number> {
  const { positionals } = parseCommandLine(args, {}, 1);
  const givenUrls = positionals[0]?.split(",") ?? [];
  for (const url of givenUrls) {
    if (isHttpUrl(url)) continue;
    throw new UsageError(`the server's URL must begin with http:// or https://, got ${quote(url)}`);
  }
  await requireOneReachable(givenUrls);
  const ownServer = givenUrls.length === 0 ? await openTourServer() : undefined;
  const urls = ownServer ? [ownServer.url] : givenUrls;
  print(`\n  Fairlead, a tour of ${urls.join(", ")}${ownServer ? " (a server of its own)" : ""}\n`);
  let failed = 0;
  let passed = 0;
  for (const { name, options } of WAYS) {
    print(`\n  ${name}\n`);
    await using fl = createClient(createNodeTransport(urls, options));
    for (const step of STEPS) {
      const id = `tour-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
      const beganMs = performance.now();
      try {
        if (step.duplex && options.httpVersion === "1.1") {
          throw new Skipped("needs a bidirectional stream, which HTTP/1.1 cannot carry");
        }
        const summary = await within(STEP_MS, step.run(fl, { id, own: ownServer }));
        passed++;
        print(`    ok   ${step.name.padEnd(14)}${took(beganMs)}  ${summary}\n`);
      } catch (error) {
        if (error instanceof Skipped) {
          print(`    --   ${step.name.padEnd(14)}${" ".repeat(9)}  ${error.message}\n`);
          continue;
        }
        failed++;
        print(`    FAIL ${step.name.padEnd(14)}${took(beganMs)}  ${reasonOf(error)}\n`);
      }
    }
  }
  await ownServer?.close();
  print(`\n  ${passed} steps passed, ${failed} failed\n\n`);
  return failed === 0 ? 0 : 1;
}

async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limitMs} ms`)), limitMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const took = (beganMs: number): string => `${(performance.now() - beganMs).toFixed(1)} ms`.padStart(9);
const print = (line: string): void => void process.stdout.write(line);
