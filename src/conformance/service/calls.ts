import { Runtime, HTTPExtension_Verb as Verb } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { CaseContext } from "../case-context.js";
import type { MirrorRequest } from "../mirror.js";

export interface ServiceCall {
  verb?: Verb;
  query?: string;
  data?: string;
  type?: string;
  headers?: HeadersInit;
  id?: string;
}

export function serviceCalls(context: CaseContext) {
  const runtime = context.client(Runtime);
  const service = context.stores.mirror?.service ?? "";
  const invoke = async (
    method: string,
    { verb, query, data, type, headers: own, id = service }: ServiceCall = {},
  ) => {
    let headers = new Headers();
    const onHeader = (responseHeaders: Headers) => {
      headers = responseHeaders;
    };
    const httpExtension = { verb: verb ?? Verb.NONE, querystring: query ?? "" };
    const message = {
      method,
      contentType: type ?? "",
      ...(data !== undefined && { data: { value: utf8(data) } }),
      ...((verb !== undefined || query !== undefined) && { httpExtension }),
    };
    const answer = await runtime.invokeService({ id, message }, { onHeader, ...(own && { headers: own }) });
    return { ...answer, headers, text: fromUtf8(answer.data?.value ?? new Uint8Array()) };
  };
  const invokeMirror = async (method: string, call?: ServiceCall): Promise<MirrorRequest> =>
    JSON.parse((await invoke(method, call)).text);
  return { ...context, runtime, service, invoke, invokeMirror };
}

export type ServiceCalls = ReturnType<typeof serviceCalls>;
