import { randomBytes } from "node:crypto";
import { createClient, type Transport } from "@connectrpc/connect";
import { Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport, type NodeTransportOptions } from "fairlead/node";
import { startServer } from "./child.js";
import { compare, median, percentile, print, type Row } from "./table.js";

const PROTOCOLS: Record<string, NodeTransportOptions> = {
  Connect: { protocol: "connect" },
  gRPC: { protocol: "grpc" },
  "gRPC-Web": { protocol: "grpc-web" },
  "Connect, HTTP/1.1": { protocol: "connect", httpVersion: "1.1" },
};

type Load = { perSecond: number; p50: number; p99: number };

const PAYLOAD = { typeUrl: "type.example/bytes", value: randomBytes(100) };

/** Calls for `ms`, `many` at once, each following the one before. */
async function load(transport: Transport, many: number, ms: number): Promise<Load> {
  const client = createClient(Runtime, transport);
  const times: number[] = [];
  const begun = performance.now();
  const one = async () => {
    for (let now = performance.now(); now - begun < ms; ) {
      await client.sayHello({ serviceName: "helloworld", name: "Ada", data: PAYLOAD });
      const after = performance.now();
      times.push(after - now);
      now = after;
    }
  };
  await Promise.all(Array.from({ length: many }, one));
  const perSecond = (times.length * 1000) / (performance.now() - begun);
  return { perSecond, p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}

export async function calls(quick: boolean): Promise<boolean> {
  await using ours = await startServer("fairlead");
  await using theirs = await startServer("bare");
  const rows: Row[] = [];
  const figures = (loads: Load[]): string => {
    const of = (read: (load: Load) => number) => median(loads.map(read));
    return `${of((l) => l.perSecond).toFixed(0)}/s, ${of((l) => l.p50).toFixed(2)} and ${of((l) => l.p99).toFixed(2)} ms`;
  };
  for (const [name, options] of Object.entries(PROTOCOLS)) {
    for (const many of [1, 64]) {
      const dial = ({ url }: { url: string }) => createNodeTransport(url, options);
      const [mine, other] = [dial(ours), dial(theirs)];
      const ms = quick ? 250 : 700;
      const found = await compare(
        quick ? 4 : 10,
        () => load(mine, many, ms),
        () => load(other, many, ms),
        (a, b) => a.perSecond / b.perSecond,
      );
      rows.push({
        what: `${name}, ${many} at once`,
        ratio: found.ratio,
        goal: { atLeast: 0.9 },
        detail: `${figures(found.ours)} against ${figures(found.theirs)}`,
      });
      await Promise.all([mine.close(), other.close()]);
    }
  }
  return print("Unary calls per second against a bare connect-node echo (p50 and p99 beside them)", rows);
}
