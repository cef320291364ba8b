import { type Code, type ConnectError, createContextValues } from "@connectrpc/connect";
import type { AdmittedCall, ArrivedCall } from "../../rpc/dispatch/served-method.js";
import { REQUEST_ID_HEADER, SERVER_HEADER } from "../../rpc/extension-headers.js";
import { type Access, subjectOf } from "../access/gate.js";
import type { Logger } from "../context.js";
import type { Admission, GroupOf } from "./admission.js";
import type { CallUsage } from "./call-usage.js";
import { type Connection, connectionKey } from "./connection.js";
import { toAnswerError, VERSION } from "./error-mapping.js";
import type { Call, CallMonitor } from "./observe.js";

/** Admits one call of `connection`, from its headers alone, or throws the refusal. */
export type AdmitCall = (call: ArrivedCall, connection: Connection) => AdmittedCall | Promise<AdmittedCall>;

/** The steps before the body of a call is read. */
export interface AdmissionSteps {
  readonly monitor: CallMonitor;
  readonly admission: Admission;
  readonly access: Access;
  readonly groupOf: GroupOf;
}

/**
 * Takes calls through the steps of the pipeline that come before their body is read: for the entry points that dispatch
 * calls themselves, where these steps are not wrapped around Connect's handlers.
 */
export function createAdmitCall(
  { monitor, admission, access, groupOf }: AdmissionSteps,
  log: Logger,
): AdmitCall {
  return (call, connection) => {
    const { method, path, header, protocolName } = call;
    const values = createContextValues();
    const observed = monitor.startCall(
      {
        method: path.slice(1),
        protocol: protocolName as Call["protocol"],
        isStream: method.methodKind !== "unary",
      },
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

function refusalOf(error: unknown, call: ArrivedCall, id: string, log: Logger): ConnectError {
  const refusal = toAnswerError(error, call.abortReason, { reqId: id, method: call.path.slice(1) }, log);
  refusal.metadata.set(SERVER_HEADER, VERSION);
  // Over HTTP every response has the id in its headers. The refusal of a tunnel is a status without headers.
  const headers = call.protocolName === "tunnel" ? refusal.metadata : call.responseHeader;
  headers.set(REQUEST_ID_HEADER, id);
  return refusal;
}
