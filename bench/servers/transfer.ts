/** The bytes of each transfer: 1 GB, unless the environment sets another size. */
export const SIZE = Number(process.env["BENCH_FILE_BYTES"] ?? 1024 ** 3);

/** A chunk of 64 KiB. */
export const PIECE = new Uint8Array(64 * 1024).fill(7);
