import { createClient as createRawClient, type Transport } from "@connectrpc/connect";
import { createClient } from "fairlead";
import { Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport } from "fairlead/node";
import { inProcess } from "fairlead/server";
import { startServer } from "./child.js";
import { compare, median, print, type Row } from "./table.js";

const VALUE = { items: ["pear", "plum"], total: 12.5, note: "x".repeat(100) };

/** The same calls by a facade and by the generated client, whose user encodes the value and reads the etag. */
function pairs(transport: Transport) {
  const fl = createClient(transport);
  const raw = createRawClient(Runtime, transport);
  const carts = fl.state("default");
  const hello = fl.hello();
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  // set() returns it.
  const onHeader = (headers: Headers) => void headers.get("fairlead-etag");
  return {
    "hello().say()": {
      ours: async () => void (await hello.say("Ada")),
      theirs: async () => void (await raw.sayHello({ serviceName: "helloworld", name: "Ada" })),
    },
    "state().get()": {
      ours: async () => void (await carts.get("u1"))?.value,
      theirs: async () => {
        const { data } = await raw.getState({ storeName: "default", key: "u1" });
        JSON.parse(decoder.decode(data));
      },
    },
    "state().set()": {
      ours: async () => void (await carts.set("u1", VALUE)),
      theirs: async () => {
        const value = encoder.encode(JSON.stringify(VALUE));
        await raw.saveState({ storeName: "default", states: [{ key: "u1", value }] }, { onHeader });
      },
    },
  };
}

/** The calls of a turn: few, so that other load on the machine affects both sides. */
const CALLS = 5;

/** The calls until the code is optimized. */
const CALLS_BEFORE = 1500;

/** The time of one of `calls` sequential calls, in microseconds. */
async function timed(calls: number, call: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  for (let i = 0; i < calls; i++) await call();
  return ((performance.now() - begun) * 1000) / calls;
}

export async function facade(quick: boolean): Promise<boolean> {
  const rows: Row[] = [];
  await using server = await startServer("fairlead");
  const ways = {
    "in process": inProcess(),
    "over HTTP/2": createNodeTransport(server.url),
  };
  for (const [way, transport] of Object.entries(ways)) {
    for (const [name, { ours, theirs }] of Object.entries(pairs(transport))) {
      await createClient(transport).state("default").set("u1", VALUE);
      await timed(CALLS_BEFORE, ours);
      await timed(CALLS_BEFORE, theirs);
      const found = await compare(
        quick ? 200 : 800,
        () => timed(CALLS, ours),
        () => timed(CALLS, theirs),
        (mine, other) => mine / other,
      );
      rows.push({
        what: `${name} ${way}`,
        ratio: found.ratio,
        goal: { atMost: 1.05 },
        detail: `${median(found.ours).toFixed(0)} µs against ${median(found.theirs).toFixed(0)} µs`,
      });
    }
    await transport.close();
  }
  return print("A facade call against the generated client: time", rows);
}
