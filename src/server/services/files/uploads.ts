import { delay } from "../../../lib/timer.js";
import { abortable } from "../../../rpc/abortable.js";

/** How long a reader waits for an upload whose client has sent all of it, in milliseconds. */
const SENT_TIMEOUT_MS = 5000;

/**
 * How long a reader waits for the end of an upload to be read: its client may have sent it before the reader's request.
 * The wait has several turns, so that a busy process gets to read the upload.
 */
const GRACE_TURNS = 10;
const TURN_MS = 5;

interface Upload {
  /** The engine's name for the file; undefined if the upload ended without a name. */
  readonly name: Promise<string | undefined>;
  /** Resolves when its client has sent all of it. */
  readonly sent: Promise<void>;
  readonly ended: Promise<void>;
}

/** Reports the progress of an upload. */
export interface UploadTracker {
  /** The engine's name for the file is known. */
  setName(name: string): void;
  /** The client has sent all of it. */
  setSent(): void;
  end(): void;
}

/**
 * The uploads under way, by connection. Some clients send a file and request it at once, without waiting for the
 * response: on one connection the upload came first. An upload that is still being sent is not waited for, as its
 * sender may be the one that requests the file.
 */
export class Uploads {
  readonly #uploads = new WeakMap<object, Set<Upload>>();

  begin(connection: object | undefined): UploadTracker {
    const name = withResolver<string | undefined>();
    const [sent, ended] = [withResolver<void>(), withResolver<void>()];
    const upload: Upload = { name: name.promise, sent: sent.promise, ended: ended.promise };
    const uploads = connection && (this.#uploads.get(connection) ?? new Set());
    if (connection && uploads) this.#uploads.set(connection, uploads.add(upload));
    const end = () => {
      uploads?.delete(upload);
      name.resolve(undefined);
      sent.resolve();
      ended.resolve();
    };
    return { setName: name.resolve, setSent: sent.resolve, end };
  }

  /**
   * Waits for the uploads of the file `name` on this connection whose client has sent all of it. Returns whether there
   * were any.
   */
  async waitForSent(connection: object | undefined, name: string, signal: AbortSignal): Promise<boolean> {
    const uploads = [...((connection && this.#uploads.get(connection)) || [])];
    if (uploads.length === 0) return false;
    const grace = waitGraceTurns(signal);
    const waits = uploads.map(async (upload) => {
      const isSent = upload.name.then((uploaded) => uploaded === name && upload.sent.then(() => true));
      if (!(await Promise.race([isSent, grace]))) return false;
      const timeout = AbortSignal.any([signal, AbortSignal.timeout(SENT_TIMEOUT_MS)]);
      await abortable(upload.ended, timeout).catch(() => {});
      return true;
    });
    return (await Promise.all(waits)).includes(true);
  }
}

async function waitGraceTurns(signal: AbortSignal): Promise<false> {
  for (let turn = 0; turn < GRACE_TURNS; turn++) await delay(TURN_MS, signal);
  return false;
}

/** Promise.withResolvers(), which Node 20 does not have. */
function withResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve = (_value: T) => {};
  const promise = new Promise<T>((to) => {
    resolve = to;
  });
  return { promise, resolve };
}
