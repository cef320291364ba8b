import { createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport, createTunnelTransport } from "fairlead/node";
import { WebSocket } from "ws";
import { startServer } from "./child.js";
import { compare, median, percentile, print, type Row } from "./table.js";

/** The length of a turn. */
const TURN_MS = 300;

type Load = { perSecond: number; timesMs: number[] };

/** Calls for one turn in `many` loops at the same time. */
async function load(call: () => Promise<unknown>, many: number, ms = TURN_MS): Promise<Load> {
  const timesMs: number[] = [];
  const begun = performance.now();
  const one = async () => {
    for (let now = performance.now(); now - begun < ms; ) {
      await call();
      const after = performance.now();
      timesMs.push(after - now);
      now = after;
    }
  };
  await Promise.all(Array.from({ length: many }, one));
  return { perSecond: (timesMs.length * 1000) / (performance.now() - begun), timesMs };
}

const hello = (transport: Transport) => {
  const client = createClient(Runtime, transport);
  return () => client.sayHello({ serviceName: "helloworld", name: "Ada" });
};

/** An open WebSocket of `ws`. */
async function rawSocket(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url.replace("http", "ws"), { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return socket;
}

/** Echoes one message in each direction, with as many bytes as a call of the tunnel. */
async function rawEcho(url: string): Promise<() => Promise<void>> {
  const socket = await rawSocket(`${url}/echo`);
  const waiting: (() => void)[] = [];
  socket.on("message", () => waiting.shift()?.());
  const bytes = Buffer.alloc(30, 1);
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      socket.send(bytes);
    });
}

/** Messages of 16 bytes in both directions over one call, as fast as flow control permits; the rate per second. */
async function duplex(transport: Transport, ms = TURN_MS): Promise<number> {
  const client = createClient(Runtime, transport);
  const begun = performance.now();
  let answered = 0;
  const message = {
    subscribeTopicEventsRequestType: { case: "eventProcessed" as const, value: { id: "0123456789" } },
  };
  const asked = (async function* () {
    while (performance.now() - begun < ms) {
      // In batches, as an app with several messages sends them, so that the other direction runs too.
      for (let i = 0; i < 100; i++) yield message;
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  for await (const _ of client.subscribeTopicEvents(asked)) answered++;
  return (answered * 1000) / (performance.now() - begun);
}

const PIECE = Buffer.alloc(64 * 1024, 7);

/** The rate of one upload in messages of 64 KiB, in MB/s. */
async function upload(transport: Transport, megabytes: number): Promise<number> {
  const client = createClient(Runtime, transport);
  const begun = performance.now();
  await client.putFile(
    (async function* () {
      for (let i = 0; i < megabytes * 16; i++) yield { data: PIECE };
    })(),
  );
  return (megabytes * 1000) / (performance.now() - begun);
}

/** The same with frames of `ws`, in one direction. */
async function rawUpload(socket: WebSocket, megabytes: number): Promise<number> {
  const begun = performance.now();
  for (let i = 0; i < megabytes * 16; i++) {
    socket.send(PIECE);
    if (socket.bufferedAmount > 1024 * 1024) await new Promise((resolve) => setImmediate(resolve));
  }
  const all = new Promise((resolve) => socket.once("message", resolve));
  socket.send("all there?");
  await all;
  return (megabytes * 1000) / (performance.now() - begun);
}

const ms = (times: readonly number[], part: number) => percentile(times, part).toFixed(3);

export async function tunnel(quick: boolean): Promise<boolean> {
  await using server = await startServer("tunnel");
  await using reference = await startServer("fairlead");
  const rounds = quick ? 5 : 20;
  const ours = createTunnelTransport(server.url);
  const grpc = createGrpcTransport({ baseUrl: server.url, acceptCompression: [] });
  const echo = await rawEcho(server.url);
  const rows: Row[] = [];
  const calls = { tunnel: hello(ours), grpc: hello(grpc) };
  for (const call of [calls.tunnel, calls.grpc, echo, calls.tunnel]) await load(call, 64, quick ? 500 : 2000);

  const row = async (
    what: string,
    goal: Row["goal"],
    many: number,
    mine: () => Promise<unknown>,
    theirs: () => Promise<unknown>,
    by: (a: Load, b: Load) => number,
  ) => {
    const found = await compare(
      rounds,
      () => load(mine, many),
      () => load(theirs, many),
      by,
    );
    const [a, b] = [found.ours, found.theirs].map((loads) => {
      const times = loads.flatMap((each) => each.timesMs);
      return `${median(loads.map((each) => each.perSecond)).toFixed(0)}/s, p50 ${ms(times, 0.5)} ms`;
    });
    rows.push({ what, goal, ratio: found.ratio, detail: `${a} against ${b}` });
  };
  const rate = (a: Load, b: Load) => a.perSecond / b.perSecond;
  await row(
    "unary calls, 64 at once, against gRPC over HTTP/2",
    { atLeast: 20 },
    64,
    calls.tunnel,
    calls.grpc,
    rate,
  );
  await row(
    "the same against an echo of `ws`, one message a call",
    { atLeast: 1 },
    64,
    calls.tunnel,
    echo,
    rate,
  );
  await row(
    "unary p50, one at a time, against gRPC",
    { atMost: 0.25 },
    1,
    calls.tunnel,
    calls.grpc,
    (a, b) => percentile(a.timesMs, 0.5) / percentile(b.timesMs, 0.5),
  );
  const whole = {
    tunnel: hello(createTunnelTransport(reference.url)),
    grpc: hello(createNodeTransport(reference.url, { protocol: "grpc" })),
  };
  for (const call of [whole.tunnel, whole.grpc]) await load(call, 64, quick ? 500 : 2000);
  await row(
    "the whole reference server, 64 at once, both ways",
    { atLeast: 1 },
    64,
    whole.tunnel,
    whole.grpc,
    rate,
  );

  const bidi = await compare(
    rounds,
    () => duplex(ours),
    () => duplex(grpc),
    (a, b) => a / b,
  );
  rows.push({
    what: "bidi messages of 16 bytes, against gRPC",
    goal: { atLeast: 20 },
    ratio: bidi.ratio,
    detail: `${median(bidi.ours).toFixed(0)}/s against ${median(bidi.theirs).toFixed(0)}/s`,
  });

  const sink = await rawSocket(`${server.url}/sink`);
  const megabytes = quick ? 32 : 128;
  const up = await compare(
    quick ? 3 : 8,
    () => upload(ours, megabytes),
    () => rawUpload(sink, megabytes),
    (a, b) => a / b,
  );
  rows.push({
    what: "upload in messages of 64 KiB, against frames of `ws`",
    goal: { atLeast: 0.8 },
    ratio: up.ratio,
    detail: `${median(up.ours).toFixed(0)} against ${median(up.theirs).toFixed(0)} MB/s`,
  });

  rows.push(...(await fairness(server.url, quick)));
  rows.push(await idleSockets(quick ? 1000 : 10_000));
  return print("The tunnel", rows);
}

/** The p99 of sequential calls with a pause between them, in ms. */
async function p99(call: () => Promise<unknown>, many: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < many; i++) {
    const begun = performance.now();
    await call();
    times.push(performance.now() - begun);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return percentile(times, 0.99);
}

/**
 * The latency of unary calls beside a continuous upload: against an idle socket, and against an echo of `ws` on a socket
 * of its own beside that of the upload.
 */
async function fairness(url: string, quick: boolean): Promise<Row[]> {
  const transport = createTunnelTransport(url);
  const call = hello(transport);
  const many = quick ? 300 : 2000;
  await p99(call, many);
  const idle = await p99(call, many);
  let isOver = false;
  const client = createClient(Runtime, transport);
  const uploading = client.putFile(
    (async function* () {
      while (!isOver) yield { data: PIECE };
    })(),
  );
  const busy = await p99(call, many);
  isOver = true;
  await uploading;
  const sink = await rawSocket(`${url}/sink`);
  const echo = await rawEcho(url);
  await p99(echo, many);
  let isRawOver = false;
  const rawUploading = (async () => {
    while (!isRawOver) await rawUpload(sink, 32);
  })();
  const raw = await p99(echo, many);
  isRawOver = true;
  await rawUploading;
  return [
    {
      what: "unary p99 beside an upload that never pauses, against an idle socket",
      goal: { atMost: 5 },
      ratio: busy / idle,
      detail: `${busy.toFixed(3)} against ${idle.toFixed(3)} ms`,
    },
    {
      what: "the same against an echo of `ws` on a socket beside that of its upload",
      goal: { atMost: 1 },
      ratio: busy / raw,
      detail: `${busy.toFixed(3)} against ${raw.toFixed(3)} ms`,
    },
  ];
}

/** The memory of an idle socket on the server, in kB. */
async function idleSockets(count: number): Promise<Row> {
  await using server = await startServer("tunnel");
  const open: WebSocket[] = [];
  const dial = () =>
    new Promise<void>((resolve, reject) => {
      const socket = new WebSocket(
        `${server.url.replace("http", "ws")}/fairlead.tunnel.v1`,
        "fairlead.tunnel.v1",
        {
          perMessageDeflate: false,
        },
      );
      // The settings, which a peer sends first, are the response to the other end's first ping.
      socket.once("open", () => socket.send(Buffer.from([1, 0]), () => resolve()));
      socket.once("error", reject);
      open.push(socket);
    });
  for (let i = 0; i < 100; i++) await dial();
  const before = await server.peak();
  for (let left = count; left > 0; left -= 100)
    await Promise.all(Array.from({ length: Math.min(left, 100) }, dial));
  const kB = ((await server.peak()) - before) / count / 1000;
  for (const socket of open) socket.terminate();
  return {
    what: `${count} idle sockets on the server, kB each`,
    goal: { atMost: 30 },
    ratio: kB,
    shown: `${kB.toFixed(1)} kB`,
    detail: "what the process has grown by at its peak, garbage and all",
  };
}
