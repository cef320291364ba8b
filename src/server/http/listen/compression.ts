import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { Limits } from "../../config/config.js";
import { exhausted } from "../../errors.js";

/** Wraps `compression`: a message that is too large once it is decompressed fails with the name of its limit. */
export const limitDecompression = (compression: Compression, { messageBytes }: Limits): Compression => ({
  ...compression,
  decompress: (bytes, readMaxBytes) =>
    compression.decompress(bytes, readMaxBytes).catch((error: unknown) => {
      const isTooLarge = error instanceof ConnectError && error.code === Code.ResourceExhausted;
      if (!isTooLarge) throw error;
      throw exhausted("messageBytes", messageBytes, "the message is larger once it is decompressed");
    }),
});
