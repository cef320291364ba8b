/** A client that runs all workloads through the facades, for a process of its own. It reports each operation. */
import { createClient } from "../../src/client/client.js";
import { randomFrom } from "../../src/lib/seeded-random.js";
import { openJetStreamEngine } from "../../src/server/jetstream.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { type Operation, Recorder } from "./operation.js";
import { runProbe } from "./probe.js";
import { runWorkloads } from "./workload.js";
import { workloads } from "./workloads.js";

export interface ClientSettings {
  name: string;
  seed: number;
  /** The URLs of the reference servers, the preferred one first. */
  urls: string[];
  /** The URLs of the NATS nodes, and the engine of the servers. */
  servers: string[];
  engine: string;
  replicas: number;
}

/** What the test sends: all clients are open; no further operation; no further observation. */
export type Command = { command: "go" | "stop" | "end" };

/** What the client reports: operations as they are done, and that it has done what the command asked for. */
export type Report = { operations: Operation[] } | { done: "open" | "stop" | "end" };

const settings = JSON.parse(process.argv[2] ?? "{}") as ClientSettings;
const [go, stop, end] = [new AbortController(), new AbortController(), new AbortController()];
const report = (message: Report) => process.send?.(message);
process.on("message", ({ command }: Command) => ({ go, stop, end })[command].abort());
process.once("disconnect", () => process.exit(1));

const reached = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });

let batch: Operation[] = [];
const flush = () => {
  if (batch.length > 0) report({ operations: batch });
  batch = [];
};
setInterval(flush, 50);

const { name, urls, servers, engine: engineName, replicas } = settings;
const engine = await openJetStreamEngine({ servers, name: engineName, replicas });
const transport = createNodeTransport(urls);
const fairlead = createClient(transport);
const withoutRetry = createClient(transport, { retry: false, closeTransport: false });
const record = new Recorder(name, (operation) => batch.push(operation));
const worker = {
  ...{ name, fairlead, withoutRetry, engine, record, pace: 2, stopped: stop.signal, ended: end.signal },
  chance: randomFrom(settings.seed),
  async allOpen() {
    report({ done: "open" });
    await reached(go.signal);
  },
};
process.send?.("ready");
await Promise.all([runWorkloads(workloads, worker), reached(go.signal).then(() => runProbe(worker))]);
flush();
report({ done: "stop" });
await reached(end.signal);
flush();
report({ done: "end" });
