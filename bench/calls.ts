import { randomBytes } from "node:crypto";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport } from "fairlead/node";
import { startServer } from "./child.js";
import { compare, median, percentile, print, type Row } from "./table.js";

/** Our client's transport, and Connect's own with the same settings: neither asks for compression. */
interface Way {
  ours(url: string): Transport;
  theirs(baseUrl: string): Transport;
}

const bare = { httpVersion: "2" as const, useBinaryFormat: true, acceptCompression: [] };

const WAYS: Record<string, Way> = {
  Connect: {
    ours: (url) => createNodeTransport(url),
    theirs: (baseUrl) => createConnectTransport({ ...bare, baseUrl }),
  },
  gRPC: {
    ours: (url) => createNodeTransport(url, { protocol: "grpc" }),
    theirs: (baseUrl) => createGrpcTransport({ ...bare, baseUrl }),
  },
  "gRPC-Web": {
    ours: (url) => createNodeTransport(url, { protocol: "grpc-web" }),
    theirs: (baseUrl) => createGrpcWebTransport({ ...bare, baseUrl }),
  },
  "Connect, HTTP/1.1": {
    ours: (url) => createNodeTransport(url, { httpVersion: "1.1" }),
    theirs: (baseUrl) => createConnectTransport({ ...bare, baseUrl, httpVersion: "1.1" }),
  },
};

const PAYLOAD = { typeUrl: "type.example/bytes", value: randomBytes(100) };

/** The length of a turn: short, so that other load on the machine affects both sides. */
const TURN_MS = 150;

type Load = { perSecond: number; timesMs: number[] };

/** Calls for `ms` in `many` loops at the same time. */
async function load(transport: Transport, many: number, ms = TURN_MS): Promise<Load> {
  const client = createClient(Runtime, transport);
  const timesMs: number[] = [];
  const begun = performance.now();
  const one = async () => {
    for (let now = performance.now(); now - begun < ms; ) {
      await client.sayHello({ serviceName: "helloworld", name: "Ada", data: PAYLOAD });
      const after = performance.now();
      timesMs.push(after - now);
      now = after;
    }
  };
  await Promise.all(Array.from({ length: many }, one));
  return { perSecond: (timesMs.length * 1000) / (performance.now() - begun), timesMs };
}

/** The results of all turns: the median rate, and p50 and p99 of all calls. */
function summed(loads: readonly Load[]) {
  const timesMs = loads.flatMap((each) => each.timesMs);
  return {
    perSecond: median(loads.map((each) => each.perSecond)),
    p50: percentile(timesMs, 0.5),
    p99: percentile(timesMs, 0.99),
  };
}

const shown = ({ perSecond, p50, p99 }: ReturnType<typeof summed>): string =>
  `${perSecond.toFixed(0)}/s, ${p50.toFixed(2)} and ${p99.toFixed(2)} ms`;

export async function calls(quick: boolean): Promise<boolean> {
  await using ours = await startServer("fairlead");
  await using theirs = await startServer("bare");
  const rows: Row[] = [];
  for (const [name, way] of Object.entries(WAYS)) {
    const [mine, other] = [way.ours(ours.url), way.theirs(theirs.url)];
    // Warm up until the code is optimized.
    for (const transport of [mine, other, mine, other]) await load(transport, 64, quick ? 500 : 4000);
    for (const many of [1, 64]) {
      const found = await compare(
        quick ? 10 : 80,
        () => load(mine, many),
        () => load(other, many),
        (a, b) => a.perSecond / b.perSecond,
      );
      const [a, b] = [summed(found.ours), summed(found.theirs)];
      rows.push({
        what: `${name}, ${many} at once`,
        ratio: [found.ratio, b.p50 / a.p50, b.p99 / a.p99],
        goal: { atLeast: 0.9 },
        detail: `${shown(a)} against ${shown(b)}`,
      });
    }
  }
  return print("Unary calls against a bare connect-node echo: calls per second, p50 and p99", rows);
}
