// Beside utf8.ts, whose functions every page carries: bundlers keep what is used of a file together.

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
