import { EngineFault } from "../../engine.js";

/** A file does not contain what was written to it. Nothing that depends on it is served. */
export class DamageError extends Error {
  /** The damaged file. */
  readonly path: string;

  constructor(path: string, reason: string) {
    super(`${path} is damaged: ${reason}`);
    this.name = "DamageError";
    this.path = path;
  }
}

/** A data folder that cannot be opened: it is in use, of another format, damaged, or read-only. */
export class FolderError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "FolderError";
  }
}

const FULL: Record<string, string> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "a file of the data folder may not grow further",
};

const REFUSED: Record<string, string> = {
  EROFS: "the data folder's disk is read-only",
  EACCES: "the data folder may not be written to",
  EPERM: "the data folder may not be written to",
  EIO: "the disk failed",
};

/** LevelDB reports errors of the operating system by their text only. */
const ERROR_CODES: Record<string, string> = {
  "No space left on device": "ENOSPC",
  "Disk quota exceeded": "EDQUOT",
  "File too large": "EFBIG",
  "Read-only file system": "EROFS",
  "Permission denied": "EACCES",
  "Operation not permitted": "EPERM",
};

function codeOf(error: unknown): string {
  const { code = "", message = "" } = Object(error) as { code?: string; message?: string };
  if (code !== "LEVEL_IO_ERROR") return code;
  const text = Object.keys(ERROR_CODES).find((known) => message.endsWith(known));
  return ERROR_CODES[text ?? ""] ?? "EIO";
}

/** The EngineFault for an error of the operating system; undefined for other errors. */
export function toEngineFault(error: unknown): EngineFault | undefined {
  const code = codeOf(error);
  const full = FULL[code];
  const why = full ?? REFUSED[code];
  if (!why) return undefined;
  const fault = new EngineFault(full ? "full" : "unavailable", why);
  fault.cause = error;
  return fault;
}

/** Whether `error` means that the path is read-only. */
export const isReadOnlyError = (error: unknown): boolean => {
  const { code = "", message = "" } = Object(error) as { code?: string; message?: string };
  if (["EROFS", "EACCES", "EPERM"].includes(code)) return true;
  return code === "LEVEL_IO_ERROR" && /Read-only file system|Permission denied/.test(message);
};
