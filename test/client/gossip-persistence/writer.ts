import { filePersistence } from "../../../src/node.js";

/**
 * A program that appends numbered records until it is killed, and reports each when it is stored. Every 20 it replaces
 * all by one that has the number of the last.
 */
const { folder, first } = JSON.parse(process.argv[2] ?? "{}") as { folder: string; first: number };
const store = await filePersistence(folder).open("killed");
await store.load();
process.send?.("ready");

const recordOf = (number: number) =>
  new Uint8Array(Buffer.from(`${number}:`.padEnd(1 + (number % 5000), "x")));

for (let number = first; ; number++) {
  if (number % 20 === 0) await store.replace([recordOf(number)]);
  else await store.append(recordOf(number));
  process.send?.(number);
}
