/** Header values by lower-case name, as Node has those of a request. */
export type RawHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** The overhead of one header in the size of a header list, as HTTP/2 counts it. */
const HEADER_OVERHEAD_BYTES = 32;

/** Names and values that need none of the normalization of `Headers`. */
const PLAIN_NAME = /^[a-z][a-z0-9-]*$/;
const PLAIN_VALUE = /^[!-~](?:[ -~]*[!-~])?$/;

/**
 * `Headers` on an object of values by name. Reading and setting single headers, which is all that most calls need,
 * works on that object. For everything else real `Headers` are filled from it: a `Headers` object of its own for the
 * request and the response of each call would cost more than the rest of answering it.
 */
export class LazyHeaders implements Headers {
  #raw: RawHeaders;
  /** Whether `#raw` is this object's own, to be changed. */
  #isOwn: boolean;
  #filled: Headers | undefined;

  /** `raw` is not changed. Default: no headers. */
  constructor(raw?: RawHeaders) {
    this.#raw = raw ?? {};
    this.#isOwn = raw === undefined;
  }

  /** The headers of a list with lower-case names and valid values, as a tunnel has it. Default: none. */
  static from(list: readonly (readonly [name: string, value: string])[] = []): Headers {
    const raw: Record<string, string | string[]> = {};
    for (const [name, value] of list) {
      if (name === "__proto__") return new Headers(list as [string, string][]);
      const before = Object.hasOwn(raw, name) ? raw[name] : undefined;
      raw[name] = before === undefined ? value : [before, value].flat();
    }
    const headers = new LazyHeaders(raw);
    headers.#isOwn = true;
    return headers;
  }

  /** The size of the header list as HTTP/2 counts it: names, values, and 32 bytes for each. */
  static sizeOf(headers: Headers): number {
    let bytes = 0;
    LazyHeaders.each(headers, (name, value) => {
      bytes += name.length + value.length + HEADER_OVERHEAD_BYTES;
    });
    return bytes;
  }

  /** Calls `use` with each header, in any order. Several values of one name are joined. */
  static each(headers: Headers, use: (name: string, value: string) => void): void {
    if (!(headers instanceof LazyHeaders) || headers.#filled) {
      headers.forEach((value, name) => {
        use(name, value);
      });
      return;
    }
    for (const name in headers.#raw) {
      const value = valueIn(headers.#raw, name);
      if (value !== undefined) use(name, value);
    }
  }

  get(name: string): string | null {
    return this.#filled ? this.#filled.get(name) : (valueIn(this.#raw, name.toLowerCase()) ?? null);
  }

  has(name: string): boolean {
    return this.#filled ? this.#filled.has(name) : valueIn(this.#raw, name.toLowerCase()) !== undefined;
  }

  set(name: string, value: string): void {
    if (this.#filled || !PLAIN_NAME.test(name) || !PLAIN_VALUE.test(value) || name === "set-cookie") {
      this.#fill().set(name, value);
      return;
    }
    if (!this.#isOwn) this.#raw = { ...this.#raw };
    this.#isOwn = true;
    (this.#raw as Record<string, string>)[name] = value;
  }

  append(name: string, value: string): void {
    if (!this.#filled && !this.has(name)) this.set(name, value);
    else this.#fill().append(name, value);
  }

  delete(name: string): void {
    this.#fill().delete(name);
  }

  getSetCookie(): string[] {
    return this.#fill().getSetCookie();
  }

  forEach(use: (value: string, name: string, parent: Headers) => void): void {
    if (!this.#filled && this.#isPlain) {
      for (const name of Object.keys(this.#raw).sort()) use(this.#raw[name] as string, name, this);
      return;
    }
    this.#fill().forEach((value, name) => {
      use(value, name, this);
    });
  }

  entries() {
    return this.#fill().entries();
  }

  keys() {
    return this.#fill().keys();
  }

  values() {
    return this.#fill().values();
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  /** Whether all values are texts that set() has checked. */
  get #isPlain(): boolean {
    return this.#isOwn && Object.values(this.#raw).every((value) => typeof value === "string");
  }

  #fill(): Headers {
    if (this.#filled) return this.#filled;
    const filled = new Headers();
    for (const [name, value] of Object.entries(this.#raw)) {
      // HTTP/2's pseudo-headers are no headers.
      if (value === undefined || name.startsWith(":")) continue;
      if (typeof value === "string") filled.append(name, value);
      else for (const each of value) filled.append(name, each);
    }
    this.#filled = filled;
    return filled;
  }
}

// For code that asks whether something is an instance of Headers. Nothing of its prototype is used.
Object.setPrototypeOf(LazyHeaders.prototype, Headers.prototype);

function valueIn(raw: RawHeaders, name: string): string | undefined {
  if (name.startsWith(":")) return undefined;
  // An object of Node also inherits what every object has, as "constructor".
  const value: unknown = raw[name];
  if (typeof value === "string") return value;
  return Array.isArray(value) ? value.join(", ") : undefined;
}
