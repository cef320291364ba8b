/** Large enough that the system takes each piece back as it is: small ones would leave holes in the process's memory. */
const SLAB_BYTES = 256 * 1024;

let slab = Buffer.alloc(0);
let used = 0;

/** Uninitialized memory for what is kept until it becomes part of a table. */
export function kept(bytes: number): Buffer {
  if (bytes > SLAB_BYTES / 4) return Buffer.allocUnsafeSlow(bytes);
  if (used + bytes > slab.length) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    used = 0;
  }
  used += bytes;
  return slab.subarray(used - bytes, used);
}

let room = Buffer.allocUnsafeSlow(4096);

/** The UTF-8 of `key`, until the next call. */
export function passing(key: string): Buffer {
  // No UTF-16 unit takes more than three bytes.
  if (room.length < key.length * 3) room = Buffer.allocUnsafeSlow(key.length * 6);
  return room.subarray(0, room.write(key));
}
