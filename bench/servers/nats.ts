import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { freePort } from "./stores.js";

/** nats-servers with JetStream: a single one, or a cluster. Data is on the disk of the working tree. */
export interface NatsServers extends AsyncDisposable {
  readonly urls: readonly string[];
  /** Kills the leader of a stream by SIGKILL. */
  killLeader(stream: string): Promise<void>;
}

const program = (): string => {
  const goPath = spawnSync("go", ["env", "GOPATH"], { encoding: "utf8" }).stdout?.trim() ?? "";
  const found = ["nats-server", join(goPath, "bin/nats-server")].find(
    (path) => spawnSync(path, ["--version"]).error === undefined,
  );
  if (found) return found;
  throw new Error("There is no nats-server: go install github.com/nats-io/nats-server/v2@v2.14.10");
};

export async function startNats(base: string, nodes: 1 | 3): Promise<NatsServers> {
  await mkdir(base, { recursive: true });
  const folder = await mkdtemp(join(base, "nats-"));
  const numbers = Array.from({ length: nodes }, (_, i) => i);
  const ports = await Promise.all(numbers.map(freePort));
  const routePorts = await Promise.all(numbers.map(freePort));
  const routes = routePorts.map((port) => `nats-route://127.0.0.1:${port}`).join(", ");
  const children = await Promise.all(
    numbers.map(async (i) => {
      const cluster = `cluster { name: bench, listen: "127.0.0.1:${routePorts[i]}", routes: [${routes}] }`;
      const file = join(folder, `n${i}.conf`);
      await writeFile(
        file,
        `server_name: n${i}
listen: "127.0.0.1:${ports[i]}"
max_payload: 8MB
jetstream { store_dir: "${join(folder, `n${i}`)}" }
${nodes > 1 ? cluster : ""}
`,
      );
      return spawn(program(), ["-c", file], { stdio: "ignore" });
    }),
  );
  // Also if the benchmark fails.
  process.once("exit", () => {
    for (const child of children) child.kill("SIGKILL");
  });
  const urls = ports.map((port) => `nats://127.0.0.1:${port}`);
  await untilReady(urls);
  return {
    urls,
    async killLeader(stream) {
      const leader = children[await leaderOf(urls, stream)];
      if (leader) await end(leader);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map(end));
      await rm(folder, { recursive: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

/** Waits until a stream with a replica on each node can be created. */
async function untilReady(urls: readonly string[]): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      const nc = await connect({ servers: [...urls] });
      try {
        const manager = await jetstreamManager(nc);
        await manager.streams.add({ name: "ready", subjects: ["ready"], num_replicas: urls.length });
        await manager.streams.delete("ready");
        return;
      } finally {
        await nc.close();
      }
    } catch (error) {
      if (tries === 200) throw error;
      await later(100);
    }
  }
}

async function leaderOf(urls: readonly string[], stream: string): Promise<number> {
  const nc = await connect({ servers: [...urls] });
  try {
    const { cluster } = await (await jetstreamManager(nc)).streams.info(stream);
    return Number(cluster?.leader?.slice(1));
  } finally {
    await nc.close();
  }
}
