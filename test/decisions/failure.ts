import assert from "node:assert/strict";
import { ConnectError } from "@connectrpc/connect";

/** The error that a call fails with. */
export async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => assert.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConnectError, String(error));
  return error;
}
