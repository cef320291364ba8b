import { type Code, type ConnectError, createContextValues } from "@connectrpc/connect";
import type { Admit, AdmittedCall, ArrivedCall } from "../../rpc/dispatch/served-method.js";
import { REQUEST_ID_HEADER, SERVER_HEADER } from "../../rpc/extension-headers.js";
import type { Session } from "../../tunnel/session.js";
import { subjectOf } from "../access/gate.js";
import type { CallUsage } from "../calls/call-usage.js";
import { type Connection, connectionKey } from "../calls/connection.js";
import { toAnswerError, VERSION } from "../calls/error-mapping.js";
import type { CallPipeline } from "../calls/pipeline.js";
import type { Log } from "../context.js";

interface CallAdmissionOptions {
  readonly pipeline: CallPipeline;
  readonly log: Log;
  readonly session: () => Session;
  /** The `Origin` header of the request that opened the tunnel. */
  readonly origin: string | null | undefined;
  readonly connection: Connection;
}

/** Takes the calls of a tunnel through the steps that calls over HTTP pass before their body is read: see pipeline.ts. */
export function admitCalls({ pipeline, log, session, origin, connection }: CallAdmissionOptions): Admit {
  const { monitor, admission, access, groupOf } = pipeline;
  return (call) => {
    const { method, path, header } = call;
    addConnectionHeaders(header, session(), origin);
    const values = createContextValues();
    const isStream = method.methodKind !== "unary";
    const observed = monitor.startCall(
      { method: path.slice(1), protocol: "tunnel", isStream },
      header,
      values,
    );
    let usage: CallUsage | undefined;
    const fail = (error: unknown): never => {
      usage?.close();
      const refusal = refusalOf(error, call, observed.id, log);
      observed.end(refusal.code);
      throw refusal;
    };
    try {
      const opened = admission.startCall({ method, header }, connection, groupOf);
      usage = opened;
      opened.path = path;
      call.usage = opened;
      admission.attach(values, opened);
      const admitted: AdmittedCall = {
        values: values.set(connectionKey, connection),
        header: [[REQUEST_ID_HEADER, observed.id]],
        onEnd(code) {
          opened.close();
          observed.end(code as Code | 0);
        },
      };
      const identify = () => {
        admission.identify(opened, subjectOf(values));
        return admitted;
      };
      const authorized = access.authorize(method, header, values);
      return authorized ? authorized.then(identify).catch(fail) : identify();
    } catch (error) {
      return fail(error);
    }
  };
}

/** Adds the headers that the tunnel has for all of its calls. */
function addConnectionHeaders(header: Headers, { peer }: Session, origin: string | null | undefined): void {
  const { authorization } = peer;
  if (authorization !== undefined && !header.has("authorization")) header.set("authorization", authorization);
  // A page cannot choose its origin: the browser named it when the tunnel was opened.
  if (origin) header.set("origin", origin);
}

function refusalOf(error: unknown, { path, signal }: ArrivedCall, id: string, log: Log): ConnectError {
  const refusal = toAnswerError(error, signal, { reqId: id, method: path.slice(1) }, log);
  refusal.metadata.set(SERVER_HEADER, VERSION);
  refusal.metadata.set(REQUEST_ID_HEADER, id);
  return refusal;
}
