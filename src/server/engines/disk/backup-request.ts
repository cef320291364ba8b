import { randomUUID } from "node:crypto";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FolderError } from "./errors.js";

/** How often the holder of a folder looks for requests, and how long a requester waits for it to claim one. */
const POLL_MS = 500;
const CLAIM_TIMEOUT_MS = 10_000;

type BackupResult = { error?: string };

const REQUEST = /^backup-([0-9a-f-]{36})\.request$/;
const requestName = (id: string): string => `backup-${id}.request`;
const claimedName = (id: string): string => `backup-${id}.claimed`;
const answerName = (id: string): string => `backup-${id}.answer`;

/**
 * Asks the process that has `folder` open for a backup to `to`, by a file. So anyone who can write to the folder may
 * ask, also from another container. Resolves when the backup is complete.
 */
export async function requestBackup(folder: string, to: string): Promise<void> {
  const id = randomUUID();
  const path = (name: string) => join(folder, name);
  await writeFile(path(`${requestName(id)}.tmp`), JSON.stringify({ to: resolve(to) }), { mode: 0o600 });
  await rename(path(`${requestName(id)}.tmp`), path(requestName(id)));
  try {
    const deadlineMs = performance.now() + CLAIM_TIMEOUT_MS;
    for (let isClaimed = false; ; await sleep(50)) {
      const names = await readdir(folder);
      if (names.includes(answerName(id))) break;
      isClaimed ||= names.includes(claimedName(id));
      if (!isClaimed && performance.now() > deadlineMs) {
        throw new FolderError(`The process that has "${folder}" open does not answer`);
      }
    }
    const { error } = JSON.parse(await readFile(path(answerName(id)), "utf8")) as BackupResult;
    if (error !== undefined) throw new FolderError(error);
  } finally {
    for (const name of [requestName, claimedName, answerName]) await rm(path(name(id)), { force: true });
  }
}

/** Serves the backup requests in `folder`, one after the other, until the returned function is called. */
export function serveBackupRequests(
  folder: string,
  backUp: (to: string) => Promise<void>,
): () => Promise<void> {
  let working: Promise<void> | undefined;
  const serveAll = async () => {
    for (const name of await readdir(folder)) {
      const id = REQUEST.exec(name)?.[1];
      if (id !== undefined) await serve(folder, id, backUp);
    }
  };
  const timer = setInterval(() => {
    working ??= serveAll()
      .catch(() => {})
      .finally(() => {
        working = undefined;
      });
  }, POLL_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await working;
  };
}

async function serve(folder: string, id: string, backUp: (to: string) => Promise<void>): Promise<void> {
  const claimed = join(folder, claimedName(id));
  await rename(join(folder, requestName(id)), claimed);
  const result: BackupResult = {};
  try {
    const { to } = JSON.parse(await readFile(claimed, "utf8")) as { to: string };
    await backUp(to);
  } catch (error) {
    result.error = error instanceof Error ? error.message : String(error);
  }
  const path = join(folder, answerName(id));
  await writeFile(`${path}.tmp`, JSON.stringify(result), { mode: 0o600 });
  await rename(`${path}.tmp`, path);
}
