import { ask, startServer } from "./child.js";
import type { Transfer } from "./file-client.js";
import { compare, median, print } from "./table.js";

/** Starts new processes for each run, so that the garbage of one run does not affect the next. */
async function transfer(kind: "ours" | "theirs"): Promise<Transfer & { server: number }> {
  await using server = await startServer(kind === "ours" ? "files" : "bare-files");
  const client = await ask<Transfer>("file-client", kind, server.url);
  return { ...client, server: await server.peak() };
}

export async function files(quick: boolean): Promise<boolean> {
  if (quick) process.env["BENCH_FILE_BYTES"] = String(128 * 1024 ** 2);
  const found = await compare(
    quick ? 2 : 3,
    () => transfer("ours"),
    () => transfer("theirs"),
    () => 0,
    { fresh: true },
  );
  const ratio = (read: (of: Transfer) => number) =>
    median(found.ours.map((mine, i) => read(mine) / read(found.theirs[i] ?? mine)));
  const speed = (read: (of: Transfer) => number) => {
    const megabytes = (all: Transfer[]) => (median(all.map(read)) / 1e6).toFixed(0);
    return `${megabytes(found.ours)} against ${megabytes(found.theirs)} MB/s`;
  };
  const most = (all: number[]) => Math.max(...all) / 1e6;
  const memory = (what: string, read: (of: Transfer & { server: number }) => number) => ({
    what: `peak memory of the ${what}, beyond what it begins with`,
    ratio: most(found.ours.map(read)),
    shown: `${most(found.ours.map(read)).toFixed(0)} MB`,
    goal: { atMost: 100 },
    detail: `bare HTTP/2: ${most(found.theirs.map(read)).toFixed(0)} MB`,
  });
  const up = (of: Transfer) => of.up;
  const down = (of: Transfer) => of.down;
  return print(`A file of ${quick ? "128 MB" : "1 GB"} against the same bytes through bare Node HTTP/2`, [
    { what: "upload", ratio: ratio(up), goal: { atLeast: 0.6 }, detail: speed(up) },
    { what: "download", ratio: ratio(down), goal: { atLeast: 0.8 }, detail: speed(down) },
    memory("client", ({ peak }) => peak),
    memory("server", ({ server }) => server),
  ]);
}
