import { contentTypeUnaryJson, contentTypeUnaryProto } from "@connectrpc/connect/protocol-connect";
import * as grpc from "@connectrpc/connect/protocol-grpc";
import * as grpcWeb from "@connectrpc/connect/protocol-grpc-web";

/** How the messages of one call are encoded, and which of the three protocols is around them. */
export interface MessageFormat {
  readonly protocol: "connect" | "grpc" | "grpc-web";
  readonly isBinary: boolean;
  /** Whether five bytes with flags and length precede each message: all but Connect's unary calls. */
  readonly isEnveloped: boolean;
  /** The `content-type` of the response. */
  readonly responseType: string;
  /** The headers that name the compression of the messages, those that the client reads, and its timeout. */
  readonly encodingHeader: "content-encoding" | "grpc-encoding";
  readonly acceptHeader: "accept-encoding" | "grpc-accept-encoding";
  readonly timeoutHeader: "connect-timeout-ms" | "grpc-timeout";
}

const CONNECT = {
  protocol: "connect",
  isEnveloped: false,
  encodingHeader: "content-encoding",
  acceptHeader: "accept-encoding",
  timeoutHeader: "connect-timeout-ms",
} as const;

const GRPC = {
  isEnveloped: true,
  encodingHeader: "grpc-encoding",
  acceptHeader: "grpc-accept-encoding",
  timeoutHeader: "grpc-timeout",
} as const;

export const CONNECT_BINARY: MessageFormat = {
  ...CONNECT,
  isBinary: true,
  responseType: contentTypeUnaryProto,
};
export const CONNECT_JSON: MessageFormat = {
  ...CONNECT,
  isBinary: false,
  responseType: contentTypeUnaryJson,
};

const grpcFormat = (
  protocol: "grpc" | "grpc-web",
  isBinary: boolean,
  responseType: string,
): MessageFormat => ({
  ...GRPC,
  protocol,
  isBinary,
  responseType,
});

const GRPC_BINARY = grpcFormat("grpc", true, grpc.contentTypeProto);
const GRPC_JSON = grpcFormat("grpc", false, grpc.contentTypeJson);
const GRPC_WEB_BINARY = grpcFormat("grpc-web", true, grpcWeb.contentTypeProto);
const GRPC_WEB_JSON = grpcFormat("grpc-web", false, grpcWeb.contentTypeJson);

/** By the content types that clients send. Others are left to Connect's handlers, which know every spelling. */
const FORMATS = new Map<string, MessageFormat>([
  ["application/proto", CONNECT_BINARY],
  ["application/json", CONNECT_JSON],
  ["application/json; charset=utf-8", CONNECT_JSON],
  ["application/json;charset=utf-8", CONNECT_JSON],
  ["application/grpc", GRPC_BINARY],
  ["application/grpc+proto", GRPC_BINARY],
  ["application/grpc+json", GRPC_JSON],
  ["application/grpc-web", GRPC_WEB_BINARY],
  ["application/grpc-web+proto", GRPC_WEB_BINARY],
  ["application/grpc-web+json", GRPC_WEB_JSON],
]);

/** The format that a request's `content-type` names; undefined if it is not one of the usual ones. */
export const formatOf = (contentType: string | undefined): MessageFormat | undefined =>
  contentType === undefined ? undefined : FORMATS.get(contentType);
