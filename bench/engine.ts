import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { createClient, text as textCodec } from "fairlead";
import { createTunnelTransport } from "fairlead/node";
import { openDiskEngine } from "fairlead/server/disk";
import { startServer } from "./child.js";
import { blobRows } from "./engine-blobs.js";
import { perSecond, rate } from "./rate.js";
import { startEtcd, startRedis } from "./servers/stores.js";
import { compare, print, type Row } from "./table.js";

const CALLERS = 64;
const KEYS = 100_000;

const text = (i: number): string => `${i}`.padEnd(100, "x");
const key = (): string => `k${Math.floor(Math.random() * KEYS)}`;
let written = 0;

/** The disk engine, against Redis and etcd. All of them sync their writes. */
export async function engine(quick: boolean): Promise<boolean> {
  const base = join(import.meta.dirname, "disk");
  await mkdir(base, { recursive: true });
  const folder = await mkdtemp(join(base, "engine-"));
  const [ms, rounds] = quick ? [300, 1] : [2000, 5];
  const own = await openDiskEngine({ folder: join(folder, "fairlead") });
  const redis = await startRedis(join(folder, "redis"));
  const etcd = await startEtcd(join(folder, "etcd"));
  const server = await startServer("disk", join(folder, "served"));
  const tunnel = createTunnelTransport(server.url);
  const map = createClient(tunnel).map("m", { codec: textCodec() });
  try {
    const { keys, logs } = own;
    const encoder = new TextEncoder();
    const value = () => encoder.encode(text(++written));
    for (let at = 0; at < KEYS; at += 1000) {
      const names = Array.from({ length: 1000 }, (_, i) => `k${at + i}`);
      await keys.commit(names.map((name) => ({ type: "set", key: name, value: value() })));
      await redis.client.mset(names.flatMap((name) => [name, text(++written)]));
    }
    const commit = () => rate(ms, CALLERS, () => keys.commit([{ type: "set", key: key(), value: value() }]));
    const higher = (ours: number, theirs: number) => ours / theirs;
    const toRedis = await compare(
      rounds,
      commit,
      () => rate(ms, CALLERS, () => redis.client.set(key(), text(++written))),
      higher,
    );
    const toEtcd = await compare(
      rounds,
      commit,
      () => rate(ms, CALLERS, () => etcd.put(key(), text(++written))),
      higher,
    );
    const toEtcdByFacade = await compare(
      rounds,
      () => rate(ms, CALLERS, () => map.put(key(), text(++written))),
      () => rate(ms, CALLERS, () => etcd.put(key(), text(++written))),
      higher,
    );
    const reads = await compare(
      rounds,
      () => rate(ms, CALLERS, () => keys.get(key())),
      () => rate(ms, CALLERS, () => redis.client.get(key())),
      higher,
    );
    const record = (i: number) => `${i}`.padEnd(1024, "y");
    const batch = () => Array.from({ length: 100 }, () => record(++written));
    const appends = await compare(
      rounds,
      async () =>
        100 *
        (await rate(ms, 4, () =>
          logs.append(
            "l",
            batch().map((one) => encoder.encode(one)),
          ),
        )),
      async () => 100 * (await rate(ms, 4, () => redis.append("s", batch()))),
      higher,
    );
    const rows: Row[] = [
      {
        what: `commits, ${CALLERS} writers, against Redis with appendfsync always`,
        ratio: toRedis.ratio,
        goal: { atLeast: 0.6 },
        detail: `${perSecond(toRedis.ours)} and ${perSecond(toRedis.theirs)}`,
      },
      {
        what: `commits, ${CALLERS} writers, against etcd`,
        ratio: toEtcd.ratio,
        goal: { atLeast: 5 },
        detail: `${perSecond(toEtcd.ours)} and ${perSecond(toEtcd.theirs)}`,
      },
      {
        what: `commits through the facade over the tunnel, ${CALLERS} writers, against etcd`,
        ratio: toEtcdByFacade.ratio,
        goal: { atLeast: 1 },
        detail: `${perSecond(toEtcdByFacade.ours)} and ${perSecond(toEtcdByFacade.theirs)}`,
      },
      {
        what: `reads, ${CALLERS} callers, against Redis GET`,
        ratio: reads.ratio,
        goal: { atLeast: 2 },
        detail: `${perSecond(reads.ours)} and ${perSecond(reads.theirs)}`,
      },
      {
        what: "log appends, 1 KiB records in batches of 100, against Redis Streams",
        ratio: appends.ratio,
        goal: { atLeast: 2 },
        detail: `${perSecond(appends.ours)} and ${perSecond(appends.theirs)}`,
      },
      ...(await blobRows(own, folder, quick)),
    ];
    return print("Disk engine, synced writes on all sides", rows);
  } finally {
    await tunnel.close();
    await server[Symbol.asyncDispose]();
    await own.close();
    await redis.stop();
    await etcd.stop();
    await rm(folder, { recursive: true });
  }
}
