import {
  create,
  createRegistry,
  isMessage,
  type JsonReadOptions,
  type JsonWriteOptions,
  type Registry,
} from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack, anyUnpack, BytesValueSchema } from "@bufbuild/protobuf/wkt";
import type { Interceptor } from "@connectrpc/connect";

/** What a transport that speaks JSON needs so that an Any can pass: with plain bytes, or of a type in `registry`. */
export const jsonWith = (registry?: Registry): Partial<JsonReadOptions & JsonWriteOptions> => ({
  registry: registry ? createRegistry(registry, BytesValueSchema) : createRegistry(BytesValueSchema),
});

/** The calls that carry an Any. */
const METHODS = new Set(["SayHello", "InvokeService"]);

/**
 * Carries an Any without a type over JSON, which would drop its bytes without a word: on the wire it is a
 * `google.protobuf.BytesValue`, at both ends it is what it was. For a transport that speaks JSON.
 */
export const sendAnyInJson: Interceptor = (next) => async (request) => {
  if (request.stream || !METHODS.has(request.method.name)) return next(request);
  const response = await next({ ...request, message: withEachAny(request.message, typed) });
  return response.stream ? response : { ...response, message: withEachAny(response.message, untyped) };
};

/** The same for a server, where the call came in JSON. */
export const takeAnyInJson: Interceptor = (next) => async (request) => {
  if (request.stream || !METHODS.has(request.method.name) || !isJson(request)) return next(request);
  const response = await next({ ...request, message: withEachAny(request.message, untyped) });
  return response.stream ? response : { ...response, message: withEachAny(response.message, typed) };
};

/** Whether a call came in JSON. A GET has the encoding in its URL. */
function isJson({ requestMethod, url, header }: Parameters<ReturnType<Interceptor>>[0]): boolean {
  if (requestMethod === "GET") return new URL(url).searchParams.get("encoding") === "json";
  return /\bjson\b/.test(header.get("content-type") ?? "");
}

const typed = (any: Any): Any =>
  any.typeUrl ? any : anyPack(BytesValueSchema, create(BytesValueSchema, { value: any.value }));

const untyped = (any: Any): Any => {
  const bytes = anyUnpack(any, BytesValueSchema);
  return bytes ? { ...any, typeUrl: "", value: bytes.value } : any;
};

/** A copy of `message` with `change` made to every Any in it. */
function withEachAny<M extends object>(message: M, change: (any: Any) => Any): M {
  const changes: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    if (isMessage(value, AnySchema)) changes[name] = change(value);
    else if (isMessage(value)) changes[name] = withEachAny(value, change);
  }
  return { ...message, ...changes };
}
