import type { Cursor } from "./table.js";

/** The entries of all `cursors` in order; where several have a key, the first of them is right. */
export function merged(cursors: readonly Cursor[]): Cursor {
  let least: Cursor | undefined;
  const choose = () => {
    least = undefined;
    for (const cursor of cursors) {
      const { key } = cursor;
      if (key && (!least?.key || key.compare(least.key) < 0)) least = cursor;
    }
  };
  choose();
  return {
    get key() {
      return least?.key;
    },
    get value() {
      return least?.value;
    },
    next() {
      const key = least?.key;
      if (!key) return;
      // The step of a cursor may overwrite its key.
      for (const cursor of cursors.filter((one) => one.key?.equals(key))) cursor.next();
      choose();
    },
  };
}
