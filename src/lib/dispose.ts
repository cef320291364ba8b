/// <reference lib="esnext.disposable" preserve="true" />
/**
 * `Symbol.asyncDispose`, or a stand-in where the runtime has none: an object literal would get a key "undefined". The
 * stand-in is the one that esbuild and Babel look for when they compile `await using` for older runtimes.
 */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for("Symbol.asyncDispose") as typeof Symbol.asyncDispose);
