import { Runtime, HTTPExtension_Verb as Verb } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { CaseContext } from "../case-context.js";
import type { MirrorRequest } from "../mirror.js";

export interface Call {
  verb?: Verb;
  query?: string;
  data?: string;
  type?: string;
  headers?: HeadersInit;
  id?: string;
}

export function serviceCalls(bench: CaseContext) {
  const runtime = bench.client(Runtime);
  const service = bench.stores.mirror?.service ?? "";
  const invoke = async (
    method: string,
    { verb, query, data, type, headers: own, id = service }: Call = {},
  ) => {
    let headers = new Headers();
    const onHeader = (told: Headers) => {
      headers = told;
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
  const asked = async (method: string, call?: Call): Promise<MirrorRequest> =>
    JSON.parse((await invoke(method, call)).text);
  return { ...bench, runtime, service, invoke, asked };
}

export type ServiceCalls = ReturnType<typeof serviceCalls>;
