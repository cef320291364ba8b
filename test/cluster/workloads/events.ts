import { groupBy, type Operation, type Recorder } from "../operation.js";
import { deadline, type Worker, type Workload } from "../workload.js";

/** An acknowledgement that so many later ones of the same connection follow has certainly been carried out. */
const CONFIRMED_BY = 5;

/** A group that all clients share. */
const SHARED = "shared";

/** The kind of what noteFullDisk() records. */
const FULL_DISK = "full disk";

/** What a consumer notes of an event: `stream` counts the connections of the subscription. */
type Delivered = { id: string; data: string; stream: string };

/** Events that all clients publish, for one group of all clients and one group for each client. */
export const events: Workload = {
  name: "events",
  paceMs: 20,
  async open(worker) {
    await Promise.all([consume(worker, SHARED), consume(worker, `own-${worker.name}`)]);
  },
  async step(worker, number) {
    const data = `${worker.name}.${number}`;
    await worker.record.call({ workload: "events", kind: "publish", input: data }, () =>
      worker.fairlead.pubsub().publish("events", data, deadline(worker)),
    );
  },
  isComplete(operations) {
    const published = acknowledged(operations);
    return [...deliveries(operations).values()].every((delivered) => {
      const seen = new Set(delivered.map(dataOf));
      return published.every((data) => seen.has(data));
    });
  },
  check(operations) {
    const asked = new Set(operations.filter(({ kind }) => kind === "publish").map(({ input }) => input));
    const published = acknowledged(operations);
    for (const [group, delivered] of deliveries(operations)) {
      const ids = new Map<string, string>();
      for (const { input } of delivered) {
        const { id, data } = input as Delivered;
        if (!asked.has(data)) throw new Error(`group ${group} got ${data}, which was never published`);
        const other = ids.get(data);
        if (other !== undefined && other !== id)
          throw new Error(
            `group ${group} got ${data} as two events, ${other} and ${id}: it was published once`,
          );
        ids.set(data, id);
      }
      const skipped = new Set(skippedBy(operations, delivered));
      const lost = published.filter((data) => !ids.has(data) && !skipped.has(data));
      if (lost.length > 0)
        throw new Error(`group ${group} never got ${lost.join(", ")}: published, and lost`);
      checkRepeats(group, delivered);
    }
  },
};

/** Notes that a node had no room on its disk from `calledAt` on, and was started again at `returnedAt`. */
export const noteFullDisk = (record: Recorder, times: { calledAt: number; returnedAt: number }): void =>
  record.note({ workload: "events", kind: FULL_DISK, input: undefined }, times);

/**
 * How many deliveries of acknowledged events to a group are missing, of events that waited for it when a disk was full.
 * nats-server 2.14.10 may skip those: see "A full disk" in docs/jetstream-engine.md.
 */
export const countSkipped = (operations: readonly Operation[]): number =>
  [...deliveries(operations).values()].flatMap((delivered) => skippedBy(operations, delivered)).length;

/** Joins `group`, and resolves when its subscription is open. */
async function consume({ fairlead, record, ended, name }: Worker, group: string): Promise<void> {
  let streams = 0;
  await new Promise<void>((resolve, reject) => {
    const onOpen = () => {
      streams++;
      resolve();
    };
    const subscription = fairlead
      .pubsub()
      .subscribe<string>("events", { group, onOpen, maxInFlight: 1, signal: ended });
    const loop = async () => {
      for await (const { id, data } of subscription) {
        const input: Delivered = { id, data, stream: `${name}.${streams}` };
        record.note({ workload: "events", kind: "delivery", key: group, input });
      }
    };
    loop().catch((error) => {
      if (!ended.aborted) reject(error);
    });
  });
}

const acknowledged = (operations: readonly Operation[]): string[] =>
  operations
    .filter(({ kind, outcome }) => kind === "publish" && outcome === "ok")
    .map(({ input }) => input as string);

const deliveries = (operations: readonly Operation[]): Map<string, Operation[]> =>
  groupBy(
    operations.filter(({ kind }) => kind === "delivery"),
    ({ key }) => key,
  );

/** The acknowledged events that one group never got, of those that waited for it when a disk was full. */
function skippedBy(operations: readonly Operation[], delivered: readonly Operation[]): string[] {
  const publishes = operations.filter(({ kind }) => kind === "publish");
  const publishedAt = new Map(publishes.map(({ input, calledAt }) => [input, calledAt]));
  const waits = operations
    .filter(({ kind }) => kind === FULL_DISK)
    .map(({ calledAt, returnedAt }) => {
      const before = delivered.filter((delivery) => delivery.calledAt < calledAt);
      // A group gets events in their order: one before the last that it got was lost before the disk was full.
      const from = before.reduce((last, each) => Math.max(last, publishedAt.get(dataOf(each)) ?? 0), 0);
      return { from, to: returnedAt };
    });
  const seen = new Set(delivered.map(dataOf));
  return publishes
    .filter(({ input, outcome }) => outcome === "ok" && !seen.has(input as string))
    .filter(({ calledAt, returnedAt }) => waits.some(({ from, to }) => returnedAt > from && calledAt < to))
    .map(({ input }) => input as string);
}

const dataOf = ({ input }: Operation): string => (input as Delivered).data;

/** Fails if an event came again although the group had acknowledged it for certain. */
function checkRepeats(group: string, delivered: readonly Operation[]): void {
  const inTime = [...delivered].sort((a, b) => a.calledAt - b.calledAt);
  /** When the acknowledgement of an event was certain. */
  const confirmedAt = new Map<string, number>();
  const streams = new Map<string, string[]>();
  for (const { input, calledAt, client } of inTime) {
    const { id, data, stream } = input as Delivered;
    const at = confirmedAt.get(id);
    if (at !== undefined)
      throw new Error(`group ${group} got ${data} again, by ${client} at ${calledAt}: handled at ${at}`);
    const earlier = streams.get(stream) ?? [];
    streams.set(stream, earlier);
    earlier.push(id);
    const confirmed = earlier.at(-1 - CONFIRMED_BY);
    if (confirmed !== undefined) confirmedAt.set(confirmed, calledAt);
  }
}
