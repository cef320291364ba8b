import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { CallBytes } from "../../rpc/dispatch/served-method.js";
import { ENVELOPE_BYTES } from "../../rpc/envelopes.js";
import { joinChunks } from "../join-chunks.js";
import { extraMessage, openEnvelope, promisedLength } from "./envelope.js";

/** The limits on the body of one request. */
export interface BodyLimits {
  readonly isEnveloped: boolean;
  /** The error of a message of so many bytes, if it is too large. */
  checkMessage(bytes: number): ConnectError | undefined;
}

/** The way in which the body of a request has its message. */
export interface BodyEncoding {
  readonly isEnveloped: boolean;
  readonly requestCompression: Compression | undefined;
  readonly handler: { readonly readMaxBytes: number };
}

/** The bytes of the message in a whole body: at once, unless it is compressed. Throws if the body is malformed. */
export function messageIn(
  body: Uint8Array,
  { isEnveloped, requestCompression, handler }: BodyEncoding,
): Uint8Array | Promise<Uint8Array> {
  const { isCompressed, bytes } = isEnveloped
    ? openEnvelope(body)
    : { isCompressed: requestCompression !== undefined, bytes: body };
  if (!isCompressed) return bytes;
  if (requestCompression) return requestCompression.decompress(bytes, handler.readMaxBytes);
  throw new ConnectError("received compressed envelope, but do not know how to decompress", Code.Internal);
}

/** The body of a request while it arrives: its chunks, counted to the call. */
export class RequestBody {
  readonly #limits: BodyLimits;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** The length in the envelope of the message, once it has arrived. */
  #promisedBytes: number | undefined;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  /** Adds a chunk; returns the error of a body that is too large, or of a limit on all calls that it exceeds. */
  add(chunk: Uint8Array, usage: CallBytes | undefined): ConnectError | undefined {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const refusal = usage?.addArriving(chunk.length);
    return this.#sizeError() ?? refusal;
  }

  #sizeError(): ConnectError | undefined {
    const { isEnveloped, checkMessage } = this.#limits;
    if (!isEnveloped) return checkMessage(this.#bytes);
    if (this.#promisedBytes === undefined) {
      // The envelope tells the length before the message is there.
      this.#promisedBytes = promisedLength(joinChunks(this.#chunks));
      if (this.#promisedBytes === undefined) return undefined;
      const error = checkMessage(this.#promisedBytes);
      if (error) return error;
    }
    return this.#bytes > ENVELOPE_BYTES + this.#promisedBytes ? extraMessage() : undefined;
  }

  /** Returns the whole body, which is not counted any more. */
  take(usage: CallBytes | undefined): Uint8Array {
    const body = joinChunks(this.#chunks);
    this.drop(usage);
    return body;
  }

  /** Frees what has arrived. Idempotent. */
  drop(usage: CallBytes | undefined): void {
    if (this.#bytes > 0) usage?.addArriving(-this.#bytes);
    this.#bytes = 0;
    this.#chunks = [];
  }
}
