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
      for (const cursor of cursors) {
        if (cursor.key?.equals(key)) cursor.next();
      }
      choose();
    },
  };
}

/** Entries that are in memory. */
export function listed(entries: readonly { key: Buffer; value: Buffer | undefined }[]): Cursor {
  let at = 0;
  return {
    get key() {
      return entries[at]?.key;
    },
    get value() {
      return entries[at]?.value;
    },
    next() {
      at++;
    },
  };
}
