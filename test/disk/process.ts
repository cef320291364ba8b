/** A writer in a process of its own, to be killed. It writes down what it asked for and what it was answered. */
import { openSync, writeSync } from "node:fs";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { watchSyncs } from "./lossy-store.js";
import { type Note, work } from "./work.js";

const [folder = "", ledger = "", from = "0"] = process.argv.slice(2);
const fd = openSync(ledger, "a");
// What is written this way is the system's: it stays when the process is killed.
const note = (one: Note) => writeSync(fd, `${JSON.stringify(one)}\n`);

watchSyncs((_, sizes) => note({ on: "sync", sizes }));
const engine = await openDiskEngine({
  folder,
  memtableBytes: 64 * 1024,
  segmentBytes: 64 * 1024,
});
process.send?.("open");
await work(engine, Number(from), note, new AbortController().signal);
