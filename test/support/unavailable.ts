import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";

/** The error of a server that is away; with `retryAfterMs` it asks for that delay before a retry. */
export const unavailable = (retryAfterMs?: number): ConnectError => {
  const error = new ConnectError("away", Code.Unavailable);
  if (retryAfterMs !== undefined) {
    const retryDelay = {
      seconds: BigInt(Math.floor(retryAfterMs / 1000)),
      nanos: (retryAfterMs % 1000) * 1e6,
    };
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay } });
  }
  return error;
};
