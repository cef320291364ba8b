/**
 * A writer in a separate process, to be killed. It notes its requests and the answers. With `stopAt` it stops itself
 * after the first answer from that journal of the store, counted from the first. Journals are larger then, so that the
 * table of the previous one is still being written.
 */
import { openSync, readdirSync, writeSync } from "node:fs";
import { basename } from "node:path";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { type Files, nodeFiles } from "../../src/server/engines/disk/files.js";
import { watchSyncs } from "./lossy-store.js";
import { type Note, work } from "./work.js";

const [folder = "", ledger = "", from = "0", stopAt = ""] = process.argv.slice(2);
const fd = openSync(ledger, "a");
const journals = new Set<string>();
// A synchronous write is in the system's cache, so it survives the kill of the process.
const note = (one: Note) => {
  writeSync(fd, `${JSON.stringify(one)}\n`);
  const isStored = "is" in one && one.is === "!" && one.on !== "log";
  if (isStored && journals.size === Number(stopAt)) process.kill(process.pid, "SIGSTOP");
};

watchSyncs((_, sizes) => {
  note({ on: "sync", sizes });
  for (const journal of Object.keys(sizes)) journals.add(journal);
});
const files: Files = {
  ...nodeFiles,
  async syncFolder(path) {
    const names = basename(path) === "tree" ? readdirSync(path) : [];
    await nodeFiles.syncFolder(path);
    if (names.length > 0) note({ on: "names", names });
  },
};
const engine = await openDiskEngine({
  folder,
  files,
  memtableBytes: stopAt === "" ? 64 * 1024 : 768 * 1024,
  segmentBytes: 64 * 1024,
});
process.send?.("open");
await work(engine, Number(from), note, new AbortController().signal);
