/** `Symbol.asyncDispose`, or a stand-in where the runtime has none: an object literal would get a key "undefined". */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for("fairlead.asyncDispose") as typeof Symbol.asyncDispose);
