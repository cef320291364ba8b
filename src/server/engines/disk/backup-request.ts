import { randomUUID } from "node:crypto";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { FolderError } from "./errors.js";

/** How often the holder of a folder looks for requests, and for how long it may seem not to. */
const LOOK_MS = 500;
const PATIENCE_MS = 10_000;

type Answer = { error?: string };

const REQUEST = /^backup-([0-9a-f-]{36})\.request$/;
const requestName = (id: string): string => `backup-${id}.request`;
const claimedName = (id: string): string => `backup-${id}.claimed`;
const answerName = (id: string): string => `backup-${id}.answer`;

/**
 * Asks the process that has `folder` open for a backup to `to`, by a file: whoever can write to the folder may ask,
 * from another container as well. Resolves when the backup is whole.
 */
export async function requestBackup(folder: string, to: string): Promise<void> {
  const id = randomUUID();
  const path = (name: string) => join(folder, name);
  await writeFile(path(`${requestName(id)}.tmp`), JSON.stringify({ to: resolve(to) }), { mode: 0o600 });
  await rename(path(`${requestName(id)}.tmp`), path(requestName(id)));
  try {
    const untilMs = performance.now() + PATIENCE_MS;
    for (let isClaimed = false; ; await later(50)) {
      const names = await readdir(folder);
      if (names.includes(answerName(id))) break;
      isClaimed ||= names.includes(claimedName(id));
      if (!isClaimed && performance.now() > untilMs) {
        throw new FolderError(`The process that has "${folder}" open does not answer`);
      }
    }
    const { error } = JSON.parse(await readFile(path(answerName(id)), "utf8")) as Answer;
    if (error !== undefined) throw new FolderError(error);
  } finally {
    for (const name of [requestName, claimedName, answerName]) await rm(path(name(id)), { force: true });
  }
}

/** Does what is asked for in `folder`, one request after the other, until the returned function is called. */
export function serveBackupRequests(
  folder: string,
  backUp: (to: string) => Promise<void>,
): () => Promise<void> {
  let working: Promise<void> | undefined;
  const look = async () => {
    for (const name of await readdir(folder)) {
      const id = REQUEST.exec(name)?.[1];
      if (id !== undefined) await answer(folder, id, backUp);
    }
  };
  const timer = setInterval(() => {
    working ??= look()
      .catch(() => {})
      .finally(() => {
        working = undefined;
      });
  }, LOOK_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await working;
  };
}

async function answer(folder: string, id: string, backUp: (to: string) => Promise<void>): Promise<void> {
  const claimed = join(folder, claimedName(id));
  await rename(join(folder, requestName(id)), claimed);
  const done: Answer = {};
  try {
    const { to } = JSON.parse(await readFile(claimed, "utf8")) as { to: string };
    await backUp(to);
  } catch (error) {
    done.error = error instanceof Error ? error.message : String(error);
  }
  const path = join(folder, answerName(id));
  await writeFile(`${path}.tmp`, JSON.stringify(done), { mode: 0o600 });
  await rename(`${path}.tmp`, path);
}
