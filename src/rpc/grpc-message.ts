import { encodeEnvelope, type UniversalServerResponse } from "@connectrpc/connect/protocol";
import { trailerFlag, trailerParse, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { ENVELOPE_BYTES } from "./envelopes.js";

/** The part of Connect's Compression that is used here. */
interface Decompression {
  readonly name: string;
  decompress(bytes: Uint8Array, readMaxBytes: number): Promise<Uint8Array>;
}

/** The limit for decompressed trailers. They are the server's own. */
const MAX_TRAILER_BYTES = 1024 * 1024;

/**
 * The answer with `grpc-message` encoded as gRPC specifies it: only "%" and bytes outside of 0x20 to 0x7E are
 * percent-encoded. Connect encodes it like a part of a URL, so that other clients would show "%3A" for ":".
 */
export function withGrpcMessage(
  answer: UniversalServerResponse,
  compressions: readonly Decompression[] = [],
): UniversalServerResponse {
  const { header, trailer, body } = answer;
  const type = header?.get("content-type") ?? "";
  if (!type.startsWith("application/grpc")) return answer;
  if (!type.startsWith("application/grpc-web")) {
    if (trailer) recodeTrailer(trailer);
    return answer;
  }
  if (!body || body instanceof Uint8Array) return answer;
  const compression = compressions.find(({ name }) => name === header?.get("grpc-encoding"));
  return { ...answer, body: recodeFrames(body, compression) };
}

/** Connect sets the message after the body has ended, so it is encoded again when it is set. */
function recodeTrailer(trailer: Headers): void {
  const { set } = trailer;
  trailer.set = (name, value) => set.call(trailer, name, name === MESSAGE ? recode(value) : value);
  const message = trailer.get(MESSAGE);
  if (message !== null) trailer.set(MESSAGE, message);
}

/** Encodes the trailers of gRPC-Web again, which are the last frame of the body. */
async function* recodeFrames(
  body: AsyncIterable<Uint8Array>,
  compression: Decompression | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const frame of body) {
    const flags = frame[0] ?? 0;
    const isCompressed = (flags & COMPRESSED) !== 0;
    if ((flags & trailerFlag) === 0 || (isCompressed && !compression)) {
      yield frame;
      continue;
    }
    const data = frame.subarray(ENVELOPE_BYTES);
    const trailer = trailerParse(
      isCompressed && compression ? await compression.decompress(data, MAX_TRAILER_BYTES) : data,
    );
    recodeTrailer(trailer);
    yield encodeEnvelope(trailerFlag, trailerSerialize(trailer));
  }
}

const MESSAGE = "grpc-message";
const COMPRESSED = 1;

/** The text that Connect has encoded, in gRPC's encoding. Spaces at the ends stay encoded, because HTTP trims them. */
const recode = (encoded: string): string =>
  encoded
    .replace(/%([2-7][\dA-F])/gi, (code, hex) =>
      hex === "25" || hex.toUpperCase() === "7F" ? code : String.fromCharCode(Number.parseInt(hex, 16)),
    )
    .replace(/^ +| +$/g, (spaces) => "%20".repeat(spaces.length));

/** `text` as the value of `grpc-message`. */
export const encodeGrpcMessage = (text: string): string => recode(encodeURIComponent(text));
