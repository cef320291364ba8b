/** `count` bytes that depend on their position and on `seed`. */
export function patternBytes(count: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let i = 0; i < count; i++) bytes[i] = i * 31 + (i >>> 8) + seed;
  return bytes;
}

/** Names that an engine must not split, fold or confuse with each other. */
export const DISTINCT_NAMES = [
  "a",
  "A",
  "a ",
  "a/b",
  "a/../b",
  "..",
  "a||b",
  "a\0b",
  "a\0b\0",
  "a.b.*.>",
  "CON",
  "%2e%2e",
  "ключ",
  "e\u0301",
  "\u00e9",
  "钥匙 🔑",
  "x".repeat(1024),
];

/** Names in the byte order of UTF-8. In UTF-16 order, characters above U+FFFF come before U+E000 and U+FFFF. */
export const ORDERED_NAMES = [
  "",
  "\0",
  "1",
  "10",
  "2",
  "A",
  "a",
  "aa",
  "é",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "😀",
  "😀a",
];
