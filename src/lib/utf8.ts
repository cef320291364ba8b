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
