import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { setTimeout as later } from "node:timers/promises";
import { Etcd3 } from "etcd3";
import { Redis } from "ioredis";

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return Object(address).port as number;
}

/** A running program of a Debian package. */
function start(program: string, args: string[]): ChildProcess {
  const child = spawn(program, args, { stdio: "ignore" });
  child.once("error", () => {
    throw new Error(`There is no ${program} here: apt-get install redis-server etcd-server`);
  });
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill();
  await ended;
}

async function answered(call: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await call();
      return;
    } catch (error) {
      if (tries === 100) throw error;
      await later(100);
    }
  }
}

/** Redis, which syncs every write. */
export async function startRedis(folder: string) {
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const sync = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
  const child = start("redis-server", ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, ...sync]);
  const client = new Redis(port, "127.0.0.1", { lazyConnect: true, enableAutoPipelining: true });
  client.on("error", () => {});
  await answered(() => client.ping());
  return {
    client,
    async append(stream: string, records: readonly string[]) {
      const pipeline = client.pipeline();
      for (const record of records) pipeline.xadd(stream, "*", "v", record);
      await pipeline.exec();
    },
    async stop() {
      client.disconnect();
      await stop(child);
    },
  };
}

/** Redis that keeps everything in memory and nothing on disk. */
export async function startCacheRedis(folder: string) {
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const child = start("redis-server", [
    ...["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder],
    ...["--appendonly", "no", "--save", ""],
  ]);
  const client = new Redis(port, "127.0.0.1", { lazyConnect: true });
  client.on("error", () => {});
  await answered(() => client.ping());
  await client.set("bench", JSON.stringify({ name: "Ada", count: 1 }));
  client.disconnect();
  return { url: `redis://127.0.0.1:${port}`, stop: () => stop(child) };
}

/** etcd, which syncs every write. */
export async function startEtcd(folder: string) {
  const [port, peer] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const child = start("etcd", [
    ...["--data-dir", folder, "--listen-client-urls", url, "--advertise-client-urls", url],
    ...["--listen-peer-urls", `http://127.0.0.1:${peer}`, "--log-level", "error"],
  ]);
  const client = new Etcd3({ hosts: url });
  await answered(() => client.get("k").string());
  return {
    put: async (key: string, value: string) => {
      await client.put(key).value(value);
    },
    async stop() {
      client.close();
      await stop(child);
    },
  };
}
