import type { ConnectRouterOptions, Interceptor } from "@connectrpc/connect";
import { takeAnyInJson } from "../../rpc/any-in-json.js";
import { splitResponse } from "../../rpc/uncopied-messages.js";
import { type Access, needsNoCredentials, subjectOf } from "../access/gate.js";
import type { Limits } from "../config/config.js";
import type { Logger } from "../context.js";
import { protoRegistry } from "../message-registry.js";
import { createAdmission, type GroupOf } from "./admission.js";
import { type AdmissionSteps, type AdmitCall, createAdmitCall } from "./admit-call.js";
import { mapErrors } from "./error-mapping.js";
import { heartbeat } from "./heartbeat.js";
import { strictTextDecoder } from "./malformed.js";
import { type CallObserver, observeCalls } from "./observe.js";
import { validateRequests } from "./validate.js";
import type { Routes } from "./wrap-handlers.js";

/** Everything that a call passes on its way to a service. */
export interface CallPipeline extends AdmissionSteps {
  /** Wraps `routes` for callers from outside. */
  forClients(routes: Routes): Routes;
  /** Wraps `routes` for this process itself, which needs no credentials. */
  forThisProcess(routes: Routes): Routes;
  /** The options of the router that the wrapped routes are registered with. */
  readonly options: ConnectRouterOptions;
  /** The steps before the body, for entry points that dispatch calls themselves. */
  readonly admit: AdmitCall;
}

export interface CallPipelineOptions {
  readonly limits: Limits;
  readonly access: Access;
  readonly observers: readonly CallObserver[];
  /** The interceptors of the server's user. */
  readonly interceptors: readonly Interceptor[];
  readonly log: Logger;
  readonly shutdownSignal: AbortSignal;
}

/**
 * The order in which a call meets everything between its entry point and its service. First come the wrappers around
 * Connect's handlers, which see the headers before the body is read:
 *
 * 1. `observe`: gives the call its id, and reports its start and its end to the log and the metrics.
 * 2. `admission`: refuses calls that would exceed a limit, and counts the bytes of the body and of the answer.
 * 3. `access`: refuses callers that may not make the call, as far as its headers tell.
 * 4. `admission`, again: counts the call to its subject, which is known now.
 *
 * Then Connect reads the body, and calls the interceptors with its messages, the outermost first:
 *
 * 5. `uncopied-messages`: takes large bytes out of the messages of a stream, to be sent without copies.
 * 6. `heartbeat`: keeps quiet streams alive.
 * 7. `observe`: notes the code that the call ends with.
 * 8. The interceptors of the server's user.
 * 9. `error-mapping`: maps every error to the error table.
 * 10. `admission`: notes which messages are complete, and makes answers wait until there is room for their bytes.
 * 11. `any-in-json`: decodes google.protobuf.Any in JSON.
 * 12. `access`: refuses messages about stores that the caller has no right to.
 * 13. `validate`: refuses requests that are not valid. The service comes after it.
 *
 * Calls of a tunnel and unary calls over Node's HTTP come by no handler of Connect. They pass the same steps:
 * `admit-call.ts` takes the place of the wrappers.
 */
export function createPipeline({
  limits,
  access,
  observers,
  interceptors,
  log,
  shutdownSignal,
}: CallPipelineOptions): CallPipeline {
  const monitor = observeCalls(observers);
  const admission = createAdmission(limits);
  const groupOf: GroupOf = (method, header) => {
    if (needsNoCredentials(method)) return "anonymous";
    if (!access.isOn) return "trusted";
    return header.has("authorization") ? "unverified" : "anonymous";
  };
  const steps = { monitor, admission, access, groupOf };
  return {
    ...steps,
    admit: createAdmitCall(steps, log),
    forClients: (routes) =>
      monitor.observe(
        admission.limitCalls(access.protect(admission.limitSubjects(routes, subjectOf)), groupOf),
      ),
    forThisProcess: (routes) => monitor.observe(admission.limitCalls(access.trust(routes))),
    options: {
      interceptors: [
        splitResponse,
        heartbeat,
        monitor.interceptor,
        ...interceptors,
        mapErrors(log),
        admission.interceptor,
        takeAnyInJson,
        access.interceptor,
        validateRequests(limits),
      ],
      jsonOptions: { registry: protoRegistry, ...{ textDecoder: strictTextDecoder } },
      readMaxBytes: limits.messageBytes,
      shutdownSignal,
    },
  };
}
