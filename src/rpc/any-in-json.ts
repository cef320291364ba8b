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

/** The JSON options by which a transport can carry an Any of bytes, or of a type in `registry`. */
export const anyJsonOptions = (registry?: Registry): Partial<JsonReadOptions & JsonWriteOptions> => ({
  registry: registry ? createRegistry(registry, BytesValueSchema) : createRegistry(BytesValueSchema),
});

/** The methods whose messages have an Any. */
const METHODS = new Set(["SayHello", "InvokeService"]);

/**
 * Sends each Any without a type as a `google.protobuf.BytesValue`, and reverts that in the answer: the JSON form of an
 * Any without a type loses its bytes. For clients with a JSON transport.
 */
export const sendAnyInJson: Interceptor = (next) => async (request) => {
  if (request.stream || !METHODS.has(request.method.name)) return next(request);
  const response = await next({ ...request, message: mapAny(request.message, addType) });
  return response.stream ? response : { ...response, message: mapAny(response.message, removeType) };
};

/** The counterpart of sendAnyInJson() for servers. Applies to calls in JSON only. */
export const takeAnyInJson: Interceptor = (next) => (request) =>
  request.stream || !METHODS.has(request.method.name) || !isJson(request)
    ? next(request)
    : next({ ...request, message: mapAny(request.message, removeType) }).then((response) =>
        response.stream ? response : { ...response, message: mapAny(response.message, addType) },
      );

/** Whether the message of a call is JSON. A GET has the encoding in its URL. */
function isJson({ requestMethod, url, header }: Parameters<ReturnType<Interceptor>>[0]): boolean {
  if (requestMethod === "GET") return new URL(url).searchParams.get("encoding") === "json";
  return /\bjson\b/.test(header.get("content-type") ?? "");
}

const addType = (any: Any): Any =>
  any.typeUrl ? any : anyPack(BytesValueSchema, create(BytesValueSchema, { value: any.value }));

const removeType = (any: Any): Any => {
  const bytes = anyUnpack(any, BytesValueSchema);
  return bytes ? { ...any, typeUrl: "", value: bytes.value } : any;
};

/** A copy of `message` in which `change` is applied to every Any. */
function mapAny<M extends object>(message: M, change: (any: Any) => Any): M {
  const changes: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    if (isMessage(value, AnySchema)) changes[name] = change(value);
    else if (isMessage(value)) changes[name] = mapAny(value, change);
  }
  return { ...message, ...changes };
}
