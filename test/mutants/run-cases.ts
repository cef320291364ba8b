import { openTarget, type Target } from "../../src/conformance/target.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { createTransportOver } from "../../src/transport/tunnel.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { conformanceConfig, openMirror, STORES } from "../conformance/config.js";
import { type Unit, units } from "./units.js";

/**
 * The argument of this program, as JSON. The program runs cases on the server that it was built with, and prints a
 * `RunEvent` as a line of JSON when a case begins and ends.
 */
export interface RunOrder {
  /** Indexes in `units` of the cases that run first. */
  readonly first: readonly number[];
  /** Indexes of the cases that run after them. */
  readonly rest: readonly number[];
  /** Whether `rest` also runs if one of `first` failed. */
  readonly all: boolean;
  /** The number of cases that run at the same time. */
  readonly atOnce: number;
}

/** A case, by its index, began or ended; or the server is broken. */
export type RunEvent = { began: number } | { ended: number; why?: string } | { broken: string };

const emit = (told: RunEvent): void => void process.stdout.write(`${JSON.stringify(told)}\n`);
const { first, rest, all, atOnce } = JSON.parse(process.argv[2] ?? "") as RunOrder;
const mirror = await openMirror();

async function openTestTarget(movable: boolean): Promise<Target> {
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
const open = (movable: boolean) => (movable ? openTestTarget(true) : (shared ??= openTestTarget(false)));

/** Runs the cases at `places`. Resolves with whether all passed. */
async function runPlaces(places: readonly number[]): Promise<boolean> {
  let hasPassed = true;
  const remaining = places.values();
  const work = async () => {
    for (const i of remaining) {
      emit({ began: i });
      const why = await (units[i] as Unit).run(open).then(
        () => undefined,
        (error: unknown) => String(error),
      );
      if (why !== undefined) hasPassed = false;
      emit({ ended: i, ...(why !== undefined && { why }) });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return hasPassed;
}

// A server that does not answer at all, or that ends the process, is not a fault that a case can find.
process.on("uncaughtException", (error) => {
  emit({ broken: String(error) });
  process.exit(1);
});
// Promises that a failed case leaves behind may reject.
process.on("unhandledRejection", () => {});
await open(false);
if ((await runPlaces(first)) || all) await runPlaces(rest);
process.exit();
