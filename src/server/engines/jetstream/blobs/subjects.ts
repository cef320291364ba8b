import { decodeToken, shortToken } from "../subjects.js";

/** The subjects of the stream of blobs. `prefix` is what all of them begin with. */
export class BlobSubjects {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** The subject of fences, for batches of which the outcome is unknown. */
  get fence(): string {
    return `${this.#prefix}fence`;
  }

  /** The prefix of the subjects of notes: of uploads, readers and removed contents. */
  get notes(): string {
    return `${this.#prefix}n.`;
  }

  /** The blob's metadata. The part of the name up to the first NUL is a token of its own, so that lists are filtered. */
  metadata(name: string): string {
    const end = name.indexOf("\0");
    const tokens = end < 0 ? [name] : [name.slice(0, end), name.slice(end + 1)];
    return `${this.#prefix}m.${tokens.map(shortToken).join(".")}`;
  }

  /** The subjects of all blobs whose names start with `namePrefix`, and perhaps of others. */
  metadataUnder(namePrefix: string): string {
    const end = namePrefix.indexOf("\0");
    return end < 0 ? `${this.#prefix}m.>` : `${this.#prefix}m.${shortToken(namePrefix.slice(0, end))}.>`;
  }

  /** The name of the blob whose metadata is on `subject`; undefined if it is not in the subject, as it is too long. */
  nameOf(subject: string): string | undefined {
    const tokens = subject.slice(`${this.#prefix}m.`.length).split(".");
    if (tokens.some((token) => token.startsWith("!"))) return undefined;
    return tokens.map(decodeToken).join("\0");
  }

  chunk(content: string, index: number): string {
    return `${this.#prefix}c.${content}.${index}`;
  }

  chunks(content: string): string {
    return `${this.#prefix}c.${content}.>`;
  }

  /** The note that the content is being uploaded. */
  upload(content: string): string {
    return `${this.notes}upload.${content}`;
  }

  /** The note that no blob has the content any more. */
  removal(content: string): string {
    return `${this.notes}removal.${content}`;
  }

  /** The note that a server reads the content. */
  reading(content: string, server: string): string {
    return `${this.notes}reading.${content}.${server}`;
  }
}
