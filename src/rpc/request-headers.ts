/** Header values by lower-case name, as Node has those of a request. */
export type RawHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** The overhead of one header in the size of a header list, as HTTP/2 counts it. */
const HEADER_OVERHEAD_BYTES = 32;

/**
 * The headers of a request. Node has them as an object, which is all that most calls need: `Headers` are filled only if
 * somebody iterates over them or changes them, since that costs more than answering the call.
 */
export class RequestHeaders extends Headers {
  #raw: RawHeaders | undefined;

  constructor(raw: RawHeaders) {
    super();
    this.#raw = raw;
  }

  /** The size of the header list as HTTP/2 counts it: names, values, and 32 bytes for each. */
  static sizeOf(headers: Headers): number {
    const raw = headers instanceof RequestHeaders ? headers.#raw : undefined;
    let bytes = 0;
    if (raw) {
      for (const name in raw) {
        const value = rawValue(raw, name);
        if (value !== undefined) bytes += name.length + value.length + HEADER_OVERHEAD_BYTES;
      }
    } else {
      headers.forEach((value, name) => {
        bytes += name.length + value.length + HEADER_OVERHEAD_BYTES;
      });
    }
    return bytes;
  }

  override get(name: string): string | null {
    if (!this.#raw) return super.get(name);
    return rawValue(this.#raw, name.toLowerCase()) ?? null;
  }

  override has(name: string): boolean {
    return this.#raw ? rawValue(this.#raw, name.toLowerCase()) !== undefined : super.has(name);
  }

  override getSetCookie(): string[] {
    this.#fill();
    return super.getSetCookie();
  }

  override append(name: string, value: string): void {
    this.#fill();
    super.append(name, value);
  }

  override set(name: string, value: string): void {
    this.#fill();
    super.set(name, value);
  }

  override delete(name: string): void {
    this.#fill();
    super.delete(name);
  }

  override forEach(callback: (value: string, name: string, parent: Headers) => void): void {
    this.#fill();
    super.forEach(callback);
  }

  override entries() {
    this.#fill();
    return super.entries();
  }

  override keys() {
    this.#fill();
    return super.keys();
  }

  override values() {
    this.#fill();
    return super.values();
  }

  override [Symbol.iterator]() {
    return this.entries();
  }

  #fill(): void {
    const raw = this.#raw;
    if (!raw) return;
    this.#raw = undefined;
    for (const [name, value] of Object.entries(raw)) {
      // HTTP/2's pseudo-headers are no headers.
      if (value === undefined || name.startsWith(":")) continue;
      if (typeof value === "string") super.append(name, value);
      else for (const each of value) super.append(name, each);
    }
  }
}

function rawValue(raw: RawHeaders, name: string): string | undefined {
  if (name.startsWith(":")) return undefined;
  const value = raw[name];
  return typeof value === "string" ? value : value?.join(", ");
}
