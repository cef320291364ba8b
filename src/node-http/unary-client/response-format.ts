import type { IncomingHttpHeaders } from "node:http";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Compression, compressedFlag } from "@connectrpc/connect/protocol";
import * as connect from "@connectrpc/connect/protocol-connect";
import * as grpc from "@connectrpc/connect/protocol-grpc";
import * as grpcWeb from "@connectrpc/connect/protocol-grpc-web";
import { ENVELOPE_BYTES } from "../../rpc/envelopes.js";
import { LazyHeaders } from "../../rpc/lazy-headers.js";

/** A response that has arrived as a whole. */
export interface RawResponse {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly body: Uint8Array;
}

/** A response as its protocol has it: one message, still encoded. */
interface DecodedResponse {
  readonly header: Headers;
  readonly trailer: Headers;
  readonly message: Uint8Array;
}

interface ResponseOptions {
  readonly useBinaryFormat: boolean;
  readonly acceptCompression: readonly Compression[];
  readonly readMaxBytes: number;
}

/** Reads the response of a protocol: at once, unless it is compressed. Throws the error that it carries. */
export type ReadResponse = (
  response: RawResponse,
  options: ResponseOptions,
) => DecodedResponse | Promise<DecodedResponse>;

const statusOf = ({ headers }: RawResponse): number => Number(headers[":status"]);

export const readConnectResponse: ReadResponse = (response, options) => {
  const { useBinaryFormat, acceptCompression, readMaxBytes } = options;
  const all = new LazyHeaders(response.headers);
  const { compression, isUnaryError, unaryError } = connect.validateResponseWithCompression(
    "unary",
    acceptCompression as Compression[],
    useBinaryFormat,
    statusOf(response),
    all,
  );
  const read = (message: Uint8Array): DecodedResponse => {
    const [header, trailer] = hasTrailers(response) ? connect.trailerDemux(all) : [all, new Headers()];
    if (!isUnaryError) return { header, trailer, message };
    const metadata = new Headers(header);
    trailer.forEach((value, name) => {
      metadata.append(name, value);
    });
    throw connect.errorFromJsonBytes(message, metadata, unaryError);
  };
  if (!compression) return read(response.body);
  return compression.decompress(response.body, readMaxBytes).then(read);
};

function hasTrailers({ headers }: RawResponse): boolean {
  for (const name in headers) if (name.startsWith("trailer-")) return true;
  return false;
}

export const readGrpcResponse: ReadResponse = (response, { acceptCompression, readMaxBytes }) => {
  const header = new LazyHeaders(response.headers);
  const trailer = new LazyHeaders(response.trailers ?? {});
  const { compression, headerError } = grpc.validateResponseWithCompression(
    acceptCompression as Compression[],
    statusOf(response),
    header,
  );
  const [first, second] = envelopesIn(response.body);
  if (second) throw extraMessage();
  const read = (message: Uint8Array | undefined): DecodedResponse => {
    grpc.validateTrailer(trailer, header);
    return { header, trailer, message: onlyMessage(message, headerError, trailer.has("grpc-status")) };
  };
  return decompressed(first, compression, readMaxBytes, read);
};

export const readGrpcWebResponse: ReadResponse = (response, { acceptCompression, readMaxBytes }) => {
  const header = new LazyHeaders(response.headers);
  const { compression, headerError } = grpcWeb.validateResponseWithCompression(
    acceptCompression as Compression[],
    statusOf(response),
    header,
  );
  const envelopes = envelopesIn(response.body);
  const trailers = envelopes.filter(({ flags }) => (flags & grpcWeb.trailerFlag) !== 0);
  const messages = envelopes.filter(({ flags }) => (flags & grpcWeb.trailerFlag) === 0);
  if (trailers.length > 1)
    throw new ConnectError("protocol error: received extra trailer", Code.Unimplemented);
  if (messages.length > 1) throw extraMessage();
  if (trailers.length === 0) {
    if (headerError) throw headerError;
    throw new ConnectError(
      "protocol error: missing trailer",
      header.has("grpc-status") ? Code.Unimplemented : Code.Unknown,
    );
  }
  return decompressed(trailers[0], compression, readMaxBytes, (bytes) => {
    const trailer = grpcWeb.trailerParse(bytes as Uint8Array);
    return decompressed(messages[0], compression, readMaxBytes, (message) => {
      grpcWeb.validateTrailer(trailer, header);
      return { header, trailer, message: onlyMessage(message, headerError, trailer.has("grpc-status")) };
    });
  });
};

interface Envelope {
  readonly flags: number;
  readonly data: Uint8Array;
}

function envelopesIn(body: Uint8Array): Envelope[] {
  const envelopes: Envelope[] = [];
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  for (let at = 0; at < body.length; ) {
    if (body.length - at < ENVELOPE_BYTES)
      throw new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
    const length = view.getUint32(at + 1);
    const data = body.subarray(at + ENVELOPE_BYTES, at + ENVELOPE_BYTES + length);
    if (data.length < length) {
      throw new ConnectError(
        `protocol error: promised ${length} bytes in enveloped message, got ${data.length} bytes`,
        Code.InvalidArgument,
      );
    }
    envelopes.push({ flags: body[at] as number, data });
    at += ENVELOPE_BYTES + length;
  }
  return envelopes;
}

/** Passes the data of `envelope` to `read`, decompressed if its flags say so. */
function decompressed<T>(
  envelope: Envelope | undefined,
  compression: Compression | undefined,
  readMaxBytes: number,
  read: (data: Uint8Array | undefined) => T | Promise<T>,
): T | Promise<T> {
  if (!envelope || (envelope.flags & compressedFlag) === 0) return read(envelope?.data);
  if (!compression) {
    throw new ConnectError("received compressed envelope, but do not know how to decompress", Code.Internal);
  }
  return compression.decompress(envelope.data, readMaxBytes).then(read);
}

function onlyMessage(
  message: Uint8Array | undefined,
  headerError: ConnectError | undefined,
  hasStatus: boolean,
): Uint8Array {
  if (message === undefined) {
    if (headerError) throw headerError;
    throw new ConnectError(
      "protocol error: missing output message for unary method",
      hasStatus ? Code.Unimplemented : Code.Unknown,
    );
  }
  if (headerError) {
    throw new ConnectError(
      "protocol error: received output message for unary method with error status",
      Code.Unknown,
    );
  }
  return message;
}

const extraMessage = (): ConnectError =>
  new ConnectError("protocol error: received extra output message for unary method", Code.Unimplemented);
