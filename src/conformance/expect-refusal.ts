import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { AssertionError, equal, ok } from "./expect.js";

/** Resolves with the error of `call`. Fails if the call succeeds. */
async function errorOf(call: Promise<unknown>, subject = "the call"): Promise<ConnectError> {
  let answer: unknown;
  try {
    answer = await call;
  } catch (reason) {
    if (reason instanceof ConnectError) return reason;
    throw reason;
  }
  throw new AssertionError(`${subject}: expected an error, got an answer`, answer, undefined, {
    isAnswer: true,
  });
}

/** Fails unless the call fails with `code`. Returns the error. */
export async function expectRefusal(
  call: Promise<unknown>,
  code: Code,
  subject = "the call",
): Promise<ConnectError> {
  const error = await errorOf(call, subject);
  if (error.code === code) return error;
  throw new AssertionError(
    `${subject}: expected ${Code[code]}, got ${Code[error.code]} (${error.rawMessage})`,
    Code[error.code],
    Code[code],
    { code: error.code },
  );
}

/** Runs `check` on an error that has the right code. Marks its failures as concerning only message or details. */
function checkDetails(error: ConnectError, check: () => void): void {
  try {
    check();
  } catch (reason) {
    if (!(reason instanceof AssertionError)) throw reason;
    const { message, actual, expected } = reason;
    throw new AssertionError(message, actual, expected, { code: error.code, isDetail: true });
  }
}

/** Fails unless the call fails with InvalidArgument, with a message and a BadRequest detail that name `field`. */
export async function expectMalformed(call: Promise<unknown>, field: string, subject = field): Promise<void> {
  const error = await expectRefusal(call, Code.InvalidArgument, subject);
  checkDetails(error, () => {
    equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field, `${subject}: the field`);
    ok(error.rawMessage.includes(field), `the message names ${field}: ${error.rawMessage}`);
  });
}

/** The metadata of the error's ErrorInfo detail. */
export const errorMetadata = (error: ConnectError): Record<string, string> | undefined => {
  const metadata = error.findDetails(ErrorInfoSchema)[0]?.metadata;
  return metadata && { ...metadata };
};

/** Fails unless the call is refused because the component `name` of `kind` is not configured. */
export async function expectUnconfigured(call: Promise<unknown>, kind: string, name: string): Promise<void> {
  const error = await expectRefusal(call, Code.InvalidArgument, `${kind} ${JSON.stringify(name)}`);
  checkDetails(error, () => {
    ok(error.rawMessage.includes(JSON.stringify(name)), `the message names it: ${error.rawMessage}`);
    ok(error.rawMessage.includes("is not configured"), `the message says why: ${error.rawMessage}`);
    equal(errorMetadata(error), { kind, name }, "ErrorInfo");
  });
}

/** Fails unless the call is refused because of the limit `name`, with that name and the maximum in the details. */
export async function expectLimit(call: Promise<unknown>, name: string): Promise<void> {
  const error = await expectRefusal(call, Code.ResourceExhausted, `the limit ${name}`);
  checkDetails(error, () => {
    ok(error.rawMessage.includes(name), `the message names ${name}: ${error.rawMessage}`);
    const { limit, most } = errorMetadata(error) ?? {};
    equal(limit, name, "the limit in ErrorInfo");
    ok(/^\d+$/.test(most ?? ""), `the error has the value of the limit: ${most}`);
  });
}

/** Names that no component has. Some are properties of every JavaScript object. */
export const UNKNOWN_NAMES = ["conformance-nope", "__proto__", "constructor"];
