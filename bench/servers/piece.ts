/** How much is sent each way: 1 GB, unless the environment says otherwise. */
export const SIZE = Number(process.env["BENCH_FILE_BYTES"] ?? 1024 ** 3);

/** What it is sent as: 64 KiB at a time. */
export const PIECE = new Uint8Array(64 * 1024).fill(7);
