/** A process that damages copies of a folder, one after the other, and reports the results of check and engine. */
import { cp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { checkFolder } from "../../src/server/engines/disk/check.js";
import { contents } from "./contents.js";

/** Damage: `length` bytes of a file of the folder are zeroed or inverted. */
export type Damage = { path: string; at: number; length: number; how: "zero" | "flip" };

/** The result: the damage that the check found, and the content of the engine, or its error. */
export type Verdict = { damaged: string[]; contents?: unknown; error?: string };

process.on("message", async ({ folder, copy, damage }: { folder: string; copy: string; damage?: Damage }) => {
  await cp(folder, copy, { recursive: true });
  await rm(join(copy, "lock"), { force: true });
  if (damage) await apply(copy, damage);
  const verdict: Verdict = { damaged: [] };
  try {
    verdict.damaged = (await checkFolder(copy)).damaged;
  } catch (error) {
    verdict.damaged = [String(error)];
  }
  try {
    verdict.contents = await contents(copy);
  } catch (error) {
    verdict.error = String(error);
  }
  await rm(copy, { recursive: true });
  process.send?.(verdict);
});

async function apply(folder: string, { path, at, length, how }: Damage): Promise<void> {
  const file = await open(join(folder, path), "r+");
  try {
    const bytes = Buffer.alloc(length);
    if (how === "flip") {
      await file.read(bytes, 0, length, at);
      for (let i = 0; i < length; i++) bytes[i] = (bytes[i] ?? 0) ^ 0xff;
    }
    await file.write(bytes, 0, length, at);
  } finally {
    await file.close();
  }
}
