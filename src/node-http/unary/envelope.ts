import { Code, ConnectError } from "@connectrpc/connect";
import { compressedFlag } from "@connectrpc/connect/protocol";
import { ENVELOPE_BYTES } from "../../rpc/envelopes.js";

/** The message in the body of a unary request. */
export interface EnvelopedMessage {
  readonly isCompressed: boolean;
  readonly bytes: Uint8Array;
}

/** The length that the first envelope of `body` promises; undefined before its five bytes have arrived. */
export function promisedLength(body: Uint8Array): number | undefined {
  if (body.length < ENVELOPE_BYTES) return undefined;
  return new DataView(body.buffer, body.byteOffset).getUint32(1);
}

/** The error of a body that goes on after its message. */
export const extraMessage = (): ConnectError =>
  new ConnectError("protocol error: received extra input message for unary method", Code.Unimplemented);

/** Takes the one message out of a whole body. Throws as gRPC servers do if there is none, a part of one, or another. */
export function openEnvelope(body: Uint8Array): EnvelopedMessage {
  if (body.length === 0)
    throw new ConnectError("protocol error: missing input message for unary method", Code.Unimplemented);
  const length = promisedLength(body);
  if (length === undefined)
    throw new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
  const end = ENVELOPE_BYTES + length;
  if (body.length < end) {
    throw new ConnectError(
      `protocol error: promised ${length} bytes in enveloped message, got ${body.length - ENVELOPE_BYTES} bytes`,
      Code.InvalidArgument,
    );
  }
  if (body.length > end) throw extraMessage();
  return {
    isCompressed: ((body[0] as number) & compressedFlag) !== 0,
    bytes: body.subarray(ENVELOPE_BYTES),
  };
}

/** Puts `message` behind its envelope, followed by `more`: one buffer, so that it is one write. */
export function sealEnvelope(flags: number, message: Uint8Array, more?: Uint8Array): Uint8Array {
  const end = ENVELOPE_BYTES + message.length;
  const sealed = Buffer.allocUnsafe(end + (more?.length ?? 0));
  sealed[0] = flags;
  sealed.writeUInt32BE(message.length, 1);
  sealed.set(message, ENVELOPE_BYTES);
  if (more) sealed.set(more, end);
  return sealed;
}
