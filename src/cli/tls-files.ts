import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { quote } from "../lib/quote.js";
import type { Logger } from "../server/index.js";
import type { Listening } from "../server/node.js";
import { UsageError } from "./command-line.js";
import { reasonOf } from "./error-text.js";

/** The files that `--tls-key` and `--tls-cert` name. */
export interface TlsPaths {
  key: string;
  cert: string;
}

type Pem = { key: string; cert: string };

/** The paths of a key and its certificate; undefined if neither is given. */
export function tlsPathsOf(key: string | undefined, cert: string | undefined): TlsPaths | undefined {
  if (key === undefined && cert === undefined) return undefined;
  if (key !== undefined && cert !== undefined) return { key, cert };
  throw new UsageError(
    `--tls-key and --tls-cert go together: --tls-${key === undefined ? "key" : "cert"} is missing`,
  );
}

/** Reads the key and the certificate. Fails if they cannot be read or do not match. */
export async function readTls(paths: TlsPaths): Promise<Pem> {
  const pem = await readPem(paths);
  try {
    createSecureContext(pem);
  } catch (error) {
    const both = `--tls-key ${quote(paths.key)} and --tls-cert ${quote(paths.cert)}`;
    throw new Error(`${both} are not a PEM key and its certificate: ${(error as Error).message}`);
  }
  return pem;
}

async function readPem({ key, cert }: TlsPaths): Promise<Pem> {
  const read = (option: string, path: string) =>
    readFile(path, "utf8").catch((error: unknown) => {
      throw new UsageError(`--tls-${option} ${quote(path)}: ${reasonOf(error)}`);
    });
  return { key: await read("key", key), cert: await read("cert", cert) };
}

/** The interval at which the contents of the files are compared. Watching is not enough: often a link changes. */
const POLL_MS = 1000;

/**
 * Uses the files for new connections when their contents change, and at once on SIGHUP. Open connections are not
 * affected. Logs a pair that does not match once, and keeps the previous one. Returns a function that stops.
 *
 */
export function followTls(
  paths: TlsPaths,
  used: Pem,
  { listening, log }: { listening: Listening; log: Logger },
): () => void {
  let previous = textOf(used);
  let lastTried = previous;
  const check = async (at: "change" | "SIGHUP") => {
    const pem = await readPem(paths).catch((error: Error) => error);
    const text = pem instanceof Error ? pem.message : textOf(pem);
    // Contents that have just changed may not be complete yet.
    const isSettled = text === previous;
    previous = text;
    if (at === "change" && (!isSettled || text === lastTried)) return;
    lastTried = text;
    try {
      if (pem instanceof Error) throw pem;
      listening.setTls(pem);
      log.info(paths, "the certificate was read again");
    } catch (err) {
      log.warn({ ...paths, err }, "the certificate cannot be read again: the previous one stays in use");
    }
  };
  const timer = setInterval(() => void check("change"), POLL_MS).unref();
  const onHangUp = () => void check("SIGHUP");
  process.on("SIGHUP", onHangUp);
  return () => {
    clearInterval(timer);
    process.off("SIGHUP", onHangUp);
  };
}

const textOf = ({ key, cert }: Pem): string => `${key}\0${cert}`;
