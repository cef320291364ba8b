import { orAborted } from "../../../internal/or-aborted.js";

/** How long a reader waits at most for an upload of the file that it asks for, in milliseconds. */
const PATIENCE_MS = 5000;

interface Upload {
  /** The engine's name for the file; undefined where the upload ended without telling. */
  readonly name: Promise<string | undefined>;
  readonly ended: Promise<void>;
}

/** An upload under way, told of its own progress. */
export interface Begun {
  named(name: string): void;
  end(): void;
}

/**
 * The uploads under way, by the connection that they came by. Some clients send a file and ask for it at once, without
 * waiting for the answer: on one connection the upload came first.
 */
export class Uploads {
  readonly #underWay = new WeakMap<object, Set<Upload>>();

  begin(connection: object | undefined): Begun {
    let named = (_name: string | undefined) => {};
    let ended = () => {};
    const upload: Upload = {
      name: new Promise((resolve) => {
        named = resolve;
      }),
      ended: new Promise((resolve) => {
        ended = resolve;
      }),
    };
    const uploads = connection && (this.#underWay.get(connection) ?? new Set());
    if (connection && uploads) this.#underWay.set(connection, uploads.add(upload));
    const end = () => {
      uploads?.delete(upload);
      named(undefined);
      ended();
    };
    return { named, end };
  }

  /** Waits for the uploads of the file `name` that this connection has begun. Whether there were any. */
  async ended(connection: object | undefined, name: string, signal: AbortSignal): Promise<boolean> {
    const begun = [...((connection && this.#underWay.get(connection)) || [])];
    if (begun.length === 0) return false;
    const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    const waited = begun.map(async (upload) => {
      if ((await upload.name) !== name) return false;
      await upload.ended;
      return true;
    });
    return orAborted(Promise.all(waited), patience).then(
      (found) => found.includes(true),
      () => true,
    );
  }
}
