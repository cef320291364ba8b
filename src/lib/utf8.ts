const encoder = new TextEncoder();
// A byte order mark is kept, so that encoding and decoding a text returns the same text.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The UTF-8 bytes of `text`. */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text);

/** The text in `bytes`; invalid UTF-8 becomes U+FFFD. */
export const fromUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes);

const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** The text in `bytes`. Throws TypeError for invalid UTF-8. */
export const strictUtf8 = (bytes: Uint8Array): string => strict.decode(bytes);

/** The number of bytes of `text` in UTF-8, without encoding it. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    length += unit < 0x800 ? 1 : 2;
    // A surrogate pair is two code units and four bytes, of which the units are counted already.
    if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < text.length) {
      const next = text.charCodeAt(i + 1);
      if (next >= 0xdc00 && next < 0xe000) i++;
    }
  }
  return length;
}

/**
 * Compares two strings by their UTF-8 bytes. JavaScript's `<` compares UTF-16 code units, which puts U+10000 and above
 * before U+E000 to U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    return x >= 0xd800 && y >= 0xd800 ? byCodePoint(x) - byCodePoint(y) : x - y;
  }
  return a.length - b.length;
}

/** Orders surrogates after the other code units. */
const byCodePoint = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit + 0x2000);
