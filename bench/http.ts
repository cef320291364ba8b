import { type ChildProcess, fork } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bytes as bytesCodec, createClient } from "fairlead";
import { createNodeTransport } from "fairlead/node";
import { startCacheRedis } from "./servers/stores.js";
import { STREAMS } from "./servers/streams.js";
import { compare, median, print, type Row } from "./table.js";

/** The task of a client: calls for `ms`, `many` at a time. */
export interface Turn {
  readonly ms: number;
  readonly many: number;
}

/** The result of a turn. */
export interface Load {
  readonly calls: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  /** The CPU time that the client took for each call, in microseconds. */
  readonly clientCpuUs: number;
}

/** A program of the bench in a process of its own, which answers each message with one. */
class Program implements Disposable {
  readonly #child: ChildProcess;
  readonly ready: Promise<string>;

  constructor(file: string, ...args: string[]) {
    this.#child = fork(join(import.meta.dirname, file), args, {
      execArgv: ["--expose-gc"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.ready = this.#next();
  }

  ask<T>(question: unknown): Promise<T> {
    const answer = this.#next<T>();
    this.#child.send(question as object);
    return answer;
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }

  #next<T>(): Promise<T> {
    return new Promise((resolve, reject) => {
      const ended = (status: number | null) =>
        reject(new Error(`a program of the bench ended with ${status}`));
      this.#child.once("exit", ended);
      this.#child.once("message", (answer) => {
        this.#child.off("exit", ended);
        resolve(answer as T);
      });
    });
  }
}

/** A client and the server that it calls, each in a process of its own. */
class Side implements Disposable {
  readonly client: Program;
  readonly server: Program | undefined;

  constructor(client: Program, server: Program | undefined) {
    this.client = client;
    this.server = server;
  }

  static async start(clientKind: string, server: Program | string): Promise<Side> {
    const url = typeof server === "string" ? server : await server.ready;
    const client = new Program("http-load.js", clientKind, url);
    await client.ready;
    return new Side(client, typeof server === "string" ? undefined : server);
  }

  /** One turn, and the CPU time that the server took for each call of it, in microseconds. */
  async turn(turn: Turn): Promise<Load & { cpuUs: number }> {
    const before = (await this.server?.ask<number>("cpu")) ?? 0;
    const load = await this.client.ask<Load>(turn);
    const after = (await this.server?.ask<number>("cpu")) ?? 0;
    return { ...load, cpuUs: (after - before) / load.calls };
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
  }
}

interface Rounds {
  readonly rounds: number;
  readonly turnMs: number;
}

/** Calls by both sides in turns; `by` is what is compared. */
async function measure(ours: Side, theirs: Side, many: number, { rounds, turnMs }: Rounds) {
  for (const side of [ours, theirs, ours, theirs]) await side.turn({ ms: turnMs * 3, many });
  const turn = { ms: turnMs, many };
  const { ours: mine, theirs: other } = await compare(
    rounds,
    () => ours.turn(turn),
    () => theirs.turn(turn),
    (a, b) => a.perSecond / b.perSecond,
  );
  const ratio = (of: (load: Load & { cpuUs: number }) => number) =>
    median(mine.map((load, i) => of(load) / of(other[i] as Load & { cpuUs: number })));
  const shown = (of: (load: Load & { cpuUs: number }) => number, digits = 0) =>
    `${median(mine.map(of)).toFixed(digits)} against ${median(other.map(of)).toFixed(digits)}`;
  return {
    rate: { ratio: ratio((load) => load.perSecond), detail: `${shown((load) => load.perSecond)} calls/s` },
    p50: { ratio: ratio((load) => load.p50Ms), detail: `${shown((load) => load.p50Ms, 3)} ms` },
    cpu: { ratio: ratio((load) => load.cpuUs), detail: `${shown((load) => load.cpuUs, 1)} µs` },
  };
}

/** The resident memory that `server` takes for each of `count` idle HTTP/2 connections, in bytes. */
async function idleBytes(server: Program, count: number): Promise<number> {
  const url = await server.ready;
  const before = await server.ask<number>("memory");
  const sessions = [];
  for (let i = 0; i < count; i++) {
    const session = connect(url);
    sessions.push(session);
    if (i % 100 === 99) await new Promise((resolve) => session.once("remoteSettings", resolve));
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const after = await server.ask<number>("memory");
  for (const session of sessions) session.destroy();
  return (after - before) / count;
}

/** Unary calls over HTTP, and by the tunnel against Redis. */
export async function http(quick: boolean): Promise<boolean> {
  const how: Rounds = quick ? { rounds: 5, turnMs: 400 } : { rounds: 11, turnMs: 800 };
  using whole = new Program("servers/http.js", "whole");
  using echo = new Program("servers/http.js", "echo");
  using grpcJs = new Program("servers/http.js", "grpc-js");
  using bare1 = new Program("servers/http.js", "bare-http1");
  using bare2 = new Program("servers/http.js", "bare-http2");
  const setup = createClient(createNodeTransport(await whole.ready));
  await setup.state().set("bench", { name: "Ada", count: 1 });
  for (const [name, { count, bytes }] of Object.entries(STREAMS)) {
    const log = setup.log(name, { codec: bytesCodec() });
    for (let i = 0; i < count; i++) await log.append(new Uint8Array(bytes));
  }
  await setup.close();
  const rows: Row[] = [];

  const pair = async (ours: [string, Program | string], theirs: [string, Program | string], many: number) => {
    using mine = await Side.start(...ours);
    using other = await Side.start(...theirs);
    return await measure(mine, other, many, how);
  };

  const grpc = await pair(["grpc-js", whole], ["grpc-js", grpcJs], 64);
  rows.push(
    {
      what: "grpc-js client, 64 at once, whole server against grpc-js's with a constant",
      goal: { atLeast: 1 },
      ...grpc.rate,
    },
    { what: "the same: the server's CPU time per call", goal: { atMost: 1.2 }, ...grpc.cpu },
  );
  const bare = await pair(["grpc-js", echo], ["grpc-js", grpcJs], 64);
  rows.push({
    what: "the same, an echo without admission, access and telemetry",
    goal: { atLeast: 1.6 },
    ...bare.rate,
  });
  const json = await pair(["raw-http1", whole], ["raw-http1", bare1], 64);
  rows.push({
    what: "Connect JSON over HTTP/1.1, 64 at once, whole server against bare node:http",
    goal: { atLeast: 0.4 },
    ...json.rate,
  });
  const binary = await pair(["raw-http2", whole], ["raw-http2", bare2], 64);
  rows.push({
    what: "Connect binary over HTTP/2, 64 at once, whole server against bare node:http2",
    goal: { atLeast: 0.4 },
    ...binary.rate,
  });
  for (const [name, kind] of [
    ["gRPC", "fairlead-grpc"],
    ["Connect", "fairlead-connect"],
  ] as const) {
    const client = await pair([kind, whole], ["grpc-js", whole], 64);
    rows.push({
      what: `createNodeTransport() by ${name}, 64 at once, against the grpc-js client, whole server`,
      goal: { atLeast: 1.5 },
      ...client.rate,
    });
  }
  for (const kind of ["grpc-js", "fairlead-grpc"]) {
    const single = await pair([kind, whole], ["grpc-js", grpcJs], 1);
    rows.push({
      what: `one at a time, whole server called by ${kind}: p50 against grpc-js to grpc-js`,
      goal: { atMost: 0.8 },
      ...single.p50,
    });
  }

  using bareStream = new Program("servers/http.js", "bare-stream");
  for (const [kind, messages] of [
    ["stream-small", `${STREAMS.small.count} messages of ${STREAMS.small.bytes} bytes`],
    ["stream-large", `${STREAMS.large.count} messages of 64 KiB`],
  ] as const) {
    const streams = await pair([kind, whole], [kind, bareStream], 4);
    rows.push({
      what: `streams of ${messages} by gRPC, 4 at once, whole server against bare node:http2`,
      ...streams.rate,
      detail: streams.rate.detail.replace("calls/s", "streams/s"),
    });
  }

  const count = quick ? 1000 : 10_000;
  using idleWhole = new Program("servers/http.js", "whole");
  using idleBare = new Program("servers/http.js", "bare-http2");
  const [ours, theirs] = [await idleBytes(idleWhole, count), await idleBytes(idleBare, count)];
  rows.push({
    what: `memory of ${count} idle HTTP/2 connections against bare node:http2`,
    ratio: ours / theirs,
    goal: { atMost: 1.3 },
    detail: `${(ours / 1024).toFixed(1)} against ${(theirs / 1024).toFixed(1)} KiB each`,
  });

  const redis = await startCacheRedis(await mkdtemp(join(tmpdir(), "fairlead-bench-")));
  try {
    const get = await pair(["tunnel-get", whole], ["redis-get", redis.url], 64);
    rows.push({
      what: "state().get() by the tunnel, 64 at once, whole server against Redis by ioredis",
      goal: { atLeast: 0.5 },
      ...get.rate,
    });
    const set = await pair(["tunnel-set", whole], ["redis-set", redis.url], 64);
    rows.push({ what: "state().set() by the tunnel, the same", goal: { atLeast: 0.35 }, ...set.rate });
  } finally {
    await redis.stop();
  }
  return print("Unary calls", rows);
}
