import { openTarget, type Target } from "../../src/conformance/target.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { createTransportOver } from "../../src/transport/tunnel.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { conformanceConfig, openMirror, STORES } from "../conformance/config.js";
import { type Unit, units } from "./units.js";

/**
 * Runs cases in this process, on whatever server it was built with, and tells of each as it begins and ends, a line of
 * JSON each. Its one argument is `Orders`.
 */
export interface Orders {
  /** Places in `units` of the cases that are run first. */
  readonly first: readonly number[];
  /** Places of those that are run after them. */
  readonly rest: readonly number[];
  /** Whether `rest` is run also where one of `first` failed. */
  readonly all: boolean;
  /** How many run at the same time. */
  readonly atOnce: number;
}

/** What is told of a case, by its place, or of the end. */
export type Told = { began: number } | { ended: number; why?: string } | { broken: string };

const tell = (told: Told): void => void process.stdout.write(`${JSON.stringify(told)}\n`);
const { first, rest, all, atOnce } = JSON.parse(process.argv[2] ?? "") as Orders;
const mirror = await openMirror();

async function opened(movable: boolean): Promise<Target> {
  let nowMs = Date.now();
  const server = createServer({
    platform: nodePlatform,
    config: conformanceConfig(mirror.url),
    ...(movable && { engine: memoryEngine({ now: () => nowMs }) }),
  });
  const dialIn = (appId: string) => {
    const dial = async () => {
      const { ends } = createSocketPair();
      server.tunnels.accept(ends[0]);
      return ends[1];
    };
    return createTransportOver("http://here", dial, { appId });
  };
  return openTarget({
    transport: server.transport(),
    stores: STORES,
    second: async () => ({ transport: server.transport(), close: async () => {} }),
    dialIn,
    ...(movable && { passTime: (ms) => void (nowMs += ms) }),
  });
}

let shared: Promise<Target> | undefined;
const open = (movable: boolean) => (movable ? opened(true) : (shared ??= opened(false)));

/** Runs the cases at `places`; whether none failed. */
async function passed(places: readonly number[]): Promise<boolean> {
  let fine = true;
  const waiting = places.values();
  const work = async () => {
    for (const i of waiting) {
      tell({ began: i });
      const why = await (units[i] as Unit).run(open).then(
        () => undefined,
        (error: unknown) => String(error),
      );
      if (why !== undefined) fine = false;
      tell({ ended: i, ...(why !== undefined && { why }) });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return fine;
}

// A server that cannot be asked anything, or that ends its process, is no fault that a case could find.
process.on("uncaughtException", (error) => {
  tell({ broken: String(error) });
  process.exit(1);
});
// What a case that has failed leaves behind it is its own.
process.on("unhandledRejection", () => {});
await open(false);
if ((await passed(first)) || all) await passed(rest);
process.exit();
