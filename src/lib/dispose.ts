/// <reference lib="esnext.disposable" preserve="true" />
/**
 * `Symbol.asyncDispose`, or in older runtimes the symbol that esbuild and Babel use when they compile `await using`.
 * Without it an object literal would get the key "undefined" there.
 */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for("Symbol.asyncDispose") as typeof Symbol.asyncDispose);
