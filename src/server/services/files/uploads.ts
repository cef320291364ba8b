import { delay } from "../../../lib/timer.js";
import { abortable } from "../../../rpc/abortable.js";

/** How long a reader waits at most for an upload that has been sent to its end, in milliseconds. */
const PATIENCE_MS = 5000;

/**
 * How long a reader waits for the end of an upload under way: what its client sent before the request of the reader may
 * have arrived without having been read. In turns, so that a busy process comes to read it as well.
 */
const GRACE_TURNS = 10;
const TURN_MS = 5;

interface Upload {
  /** The engine's name for the file; undefined where the upload ended without telling. */
  readonly name: Promise<string | undefined>;
  /** Its client has sent all of it. */
  readonly sent: Promise<void>;
  readonly ended: Promise<void>;
}

/** An upload under way, told of its own progress. */
export interface Begun {
  named(name: string): void;
  sent(): void;
  end(): void;
}

/**
 * The uploads under way, by the connection that they came by. Some clients send a file and ask for it at once, without
 * waiting for the answer: on one connection the upload came first. An upload that its client goes on to send is another
 * matter: its file is not there yet, and whoever asks for it may be who is to send the rest.
 */
export class Uploads {
  readonly #underWay = new WeakMap<object, Set<Upload>>();

  begin(connection: object | undefined): Begun {
    const name = settled<string | undefined>();
    const [sent, ended] = [settled<void>(), settled<void>()];
    const upload: Upload = { name: name.promise, sent: sent.promise, ended: ended.promise };
    const uploads = connection && (this.#underWay.get(connection) ?? new Set());
    if (connection && uploads) this.#underWay.set(connection, uploads.add(upload));
    const end = () => {
      uploads?.delete(upload);
      name.resolve(undefined);
      sent.resolve();
      ended.resolve();
    };
    return { named: name.resolve, sent: sent.resolve, end };
  }

  /**
   * Waits for the uploads of the file `name` that this connection has begun and sent to their end. Whether there were
   * any. Those that are still being sent are not waited for.
   */
  async ended(connection: object | undefined, name: string, signal: AbortSignal): Promise<boolean> {
    const begun = [...((connection && this.#underWay.get(connection)) || [])];
    if (begun.length === 0) return false;
    const grace = graceOf(signal);
    const waited = begun.map(async (upload) => {
      const isSent = upload.name.then((its) => its === name && upload.sent.then(() => true));
      if (!(await Promise.race([isSent, grace]))) return false;
      const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
      await abortable(upload.ended, patience).catch(() => {});
      return true;
    });
    return (await Promise.all(waited)).includes(true);
  }
}

async function graceOf(signal: AbortSignal): Promise<false> {
  for (let turn = 0; turn < GRACE_TURNS; turn++) await delay(TURN_MS, signal);
  return false;
}

/** A promise and the way to settle it. */
function settled<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve = (_value: T) => {};
  const promise = new Promise<T>((to) => {
    resolve = to;
  });
  return { promise, resolve };
}
