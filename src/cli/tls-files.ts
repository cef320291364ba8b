import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { quote } from "../lib/quote.js";
import type { Log } from "../server/index.js";
import type { Listening } from "../server/node.js";
import { UsageError } from "./command-line.js";
import { reasonOf } from "./error-text.js";

/** The files that `--tls-key` and `--tls-cert` name. */
export interface TlsPaths {
  key: string;
  cert: string;
}

type Pem = { key: string; cert: string };

/** The paths of a key and its certificate; undefined where neither is named. */
export function tlsPathsOf(key: string | undefined, cert: string | undefined): TlsPaths | undefined {
  if (key === undefined && cert === undefined) return undefined;
  if (key !== undefined && cert !== undefined) return { key, cert };
  throw new UsageError(
    `--tls-key and --tls-cert go together: --tls-${key === undefined ? "key" : "cert"} is missing`,
  );
}

/** The key and certificate in these files. Fails where they cannot be read, or are no pair. */
export async function readTls(paths: TlsPaths): Promise<Pem> {
  const pem = await readPem(paths);
  try {
    createSecureContext(pem);
  } catch (error) {
    const both = `--tls-key ${quote(paths.key)} and --tls-cert ${quote(paths.cert)}`;
    throw new Error(`${both} are no PEM key and its certificate: ${(error as Error).message}`);
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

/** How often the files are looked at. Their contents, as it is often a link to them that changes. */
const LOOK_MS = 1000;

/**
 * Serves further connections with what the files hold, whenever that changes and at once on SIGHUP; connections that
 * are open go on. A pair that does not fit is told of once, and the one before stays in use. Returns the way to stop.
 */
export function followTls(
  paths: TlsPaths,
  used: Pem,
  { listening, log }: { listening: Listening; log: Log },
): () => void {
  let seen = textOf(used);
  let tried = seen;
  const look = async (at: "change" | "SIGHUP") => {
    const found = await readPem(paths).catch((error: Error) => error);
    const text = found instanceof Error ? found.message : textOf(found);
    // What was otherwise a moment ago may still be on its way into the files.
    const isSettled = text === seen;
    seen = text;
    if (at === "change" && (!isSettled || text === tried)) return;
    tried = text;
    try {
      if (found instanceof Error) throw found;
      listening.setTls(found);
      log.info(paths, "the certificate was read anew");
    } catch (err) {
      log.warn({ ...paths, err }, "the certificate cannot be read anew: the one before stays in use");
    }
  };
  const timer = setInterval(() => void look("change"), LOOK_MS).unref();
  const onHangUp = () => void look("SIGHUP");
  process.on("SIGHUP", onHangUp);
  return () => {
    clearInterval(timer);
    process.off("SIGHUP", onHangUp);
  };
}

const textOf = ({ key, cert }: Pem): string => `${key}\0${cert}`;
