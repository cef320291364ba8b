import type { DescMethod } from "@bufbuild/protobuf";
import {
  type ConnectError,
  type ContextKey,
  type ContextValues,
  createContextKey,
  type Interceptor,
  type StreamRequest,
  type UnaryRequest,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { AppCallback } from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { quote } from "../../lib/quote.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import { toAnswerError, VERSION } from "../calls/error-mapping.js";
import { noteRefusal, requestIdIn } from "../calls/observe.js";
import { type Routes, withValue, wrapHandlers } from "../calls/wrap-handlers.js";
import type { Log, Platform } from "../context.js";
import { type Caller, callers, forbidden, trusted, unauthenticated } from "./callers.js";
import { endAtExpiry } from "./expiry.js";
import { type Question, questionOf } from "./permissions.js";
import { sendRefusal } from "./refusal.js";
import { type Deed, knows, permits } from "./rules.js";
import { type AccessSettings, isOn } from "./settings.js";

/** Who a call comes from, in the context values of every call. */
const callerKey: ContextKey<Caller | undefined> = createContextKey(undefined);

/** The subject of a caller that was let in by its credentials; undefined for all others. */
export function subjectOf(values: ContextValues): string | undefined {
  const caller = values.get(callerKey);
  return caller && caller !== trusted && caller.hasToken ? caller.subject : undefined;
}

/** Whether a method needs no credentials: how an orchestrator asks whether the server is well, and learns nothing else. */
export const needsNoCredentials = ({ parent }: DescMethod): boolean =>
  parent.typeName.startsWith("grpc.health.");

/** Who may call, and what: asked for in the headers before a body is read, and of each message for its store. */
export interface Access {
  /** Whether calls need a right to be let in. */
  readonly isOn: boolean;
  /** Whether this `authorization` header names anyone: who does may see how the server does. All may where access is off. */
  isKnown(authorization: string | null): Promise<boolean>;
  /** `routes`, each behind the gate: no request reaches them without a caller who may make it. */
  gated(routes: Routes): Routes;
  /** `routes` as this process itself may call them, without credentials. */
  open(routes: Routes): Routes;
  /** The same for one call that comes by no HTTP handler: notes in `values` whose it is. Throws a refusal. */
  admit(method: DescMethod, header: Headers, values: ContextValues): Promise<void> | undefined;
  /**
   * Lets whoever sends this `authorization` header be the app `appId`, and be called as such, or rejects with a
   * refusal. Tells which events it may have, and until when.
   */
  admitApp(appId: string, authorization: string | null): Promise<AdmittedApp>;
  /** Refuses messages about stores that the caller has no right to, and calls that came by no gate. */
  readonly interceptor: Interceptor;
}

/** What an app that dialled in may do. */
interface AdmittedApp {
  mayRead(pubsub: string, group: string): Promise<boolean>;
  /** When its credentials end, in milliseconds since 1970; undefined: never. */
  readonly expiresAtMs: number | undefined;
}

interface AccessAround {
  platform: Pick<Platform, "fetch" | "env">;
  log: Log;
  /** This runtime's own app id. */
  appId: string;
  /** Whether an app has this id: the group of that name is then its own. */
  isApp(id: string): Promise<boolean>;
}

export function createAccess(settings: AccessSettings, around: AccessAround): Access {
  const find = callers(settings, around);
  const on = isOn(settings);

  /** The caller who may make this call as far as its headers tell. Throws a refusal. */
  const admit = async (method: DescMethod, header: Headers): Promise<Caller> => {
    if (needsNoCredentials(method)) return trusted;
    const caller = await find(header.get("authorization"));
    const question = questionOf(method);
    if (!question) return caller;
    const call = deed(question, method.name);
    const stores = question.stores?.(header) ?? [undefined];
    for (const store of stores) if (!permits(caller.rules, call, store)) throw mayNot(caller, call, store);
    for (const lock of question.locks?.(header) ?? []) {
      if (knows(caller.rules, "lock", lock)) continue;
      throw lacking(caller, `use the fences of lock ${quote(lock)}`);
    }
    if (question.primitive === "secrets" && !settings.secretsFromBrowsers && fromBrowser(header)) {
      throw forbidden("secrets are not for web pages: only access.secretsFromBrowsers lets them have one");
    }
    return caller;
  };

  const ofApps: Deed = { primitive: "service", verbs: [], rpc: AppCallback.method.onTopicEvent.name };

  /** Throws a refusal where the events of this group are an app's, and the caller may not be that app. */
  const checkGroup = async (caller: Caller, group: string): Promise<void> => {
    if (permits(caller.rules, ofApps, group) || !(await around.isApp(group))) return;
    throw lacking(caller, `have the events of the app ${quote(group)} (${ofApps.rpc})`);
  };

  /** The request, with each of its messages refused that the caller has no right to. */
  const checkedFor = <R extends UnaryRequest | StreamRequest>(caller: Caller, request: R): R => {
    const question = questionOf(request.method);
    if (caller === trusted || !question?.store) return request;
    const call = deed(question, request.method.name);
    const check = (message: unknown): string | undefined => {
      const store = question.store?.(message as never);
      const group = question.group?.(message as never, request.header, around.appId);
      if (store !== undefined && !permits(caller.rules, call, store, group)) {
        throw mayNot(caller, call, store, group);
      }
      return group;
    };
    if (!request.stream) {
      check(request.message);
      return request;
    }
    const { message } = request;
    const checked = async function* () {
      for await (const part of message) {
        const group = check(part);
        if (group !== undefined) await checkGroup(caller, group);
        yield part;
      }
    };
    return { ...request, message: checked() };
  };

  const gate = (handler: UniversalHandler) => async (request: UniversalServerRequest) => {
    let caller: Caller;
    try {
      caller = await admit(handler.method, request.header);
    } catch (error) {
      const reqId = requestIdIn(request.contextValues);
      const refusal = toAnswerError(
        error,
        request.signal,
        { reqId, method: handler.requestPath.slice(1) },
        around.log,
      );
      refusal.metadata.set(SERVER_HEADER, VERSION);
      noteRefusal(request.contextValues, refusal.code);
      return sendRefusal(request, refusal);
    }
    return handler(withValue(request, callerKey, caller));
  };

  return {
    isOn: on,
    async isKnown(authorization) {
      try {
        return (await find(authorization)).hasToken;
      } catch {
        return false;
      }
    },
    gated: (routes) => wrapHandlers(routes, gate),
    open: (routes) =>
      wrapHandlers(routes, (handler) => (request) => handler(withValue(request, callerKey, trusted))),
    admit(method, header, values) {
      // Without access control only secrets are kept from some.
      if (on || questionOf(method)?.primitive === "secrets") {
        return admit(method, header).then((caller) => void values.set(callerKey, caller));
      }
      values.set(callerKey, trusted);
      return undefined;
    },
    async admitApp(appId, authorization) {
      const caller = await find(authorization);
      if (!permits(caller.rules, ofApps, appId)) throw mayNot(caller, ofApps, appId);
      const read = {
        primitive: "pubsub",
        verbs: ["read"],
        rpc: Runtime.method.subscribeTopicEvents.name,
      } as const;
      return {
        async mayRead(pubsub, group) {
          if (!permits(caller.rules, read, pubsub, group)) return false;
          return caller === trusted || permits(caller.rules, ofApps, group) || !(await around.isApp(group));
        },
        expiresAtMs: caller.expiresAtMs,
      };
    },
    interceptor: (next) => (request) => {
      const caller = request.contextValues.get(callerKey);
      if (!caller) throw unauthenticated("this call came by no gate: the server's own routes must be used");
      const { expiresAtMs } = caller;
      const checked = checkedFor(caller, request);
      if (!checked.stream || expiresAtMs === undefined) return next(checked);
      return endAtExpiry(next, checked, expiresAtMs);
    },
  };
}

const deed = ({ primitive, verbs }: Question<never>, rpc: string) => ({ primitive, verbs, rpc });

function mayNot(
  caller: Caller,
  { primitive, verbs, rpc }: Deed,
  store?: string,
  group?: string,
): ConnectError {
  const what = verbs.length > 0 ? verbs.join(" and ") : rpc;
  const where =
    (store === undefined ? primitive : `${primitive} ${quote(store)}`) +
    (group === undefined ? "" : ` in group ${quote(group)}`);
  return lacking(caller, `${what} ${where}${verbs.length > 0 ? ` (${rpc})` : ""}`);
}

function lacking({ subject, hasToken }: Caller, deed: string): ConnectError {
  if (!hasToken) return unauthenticated(`without a bearer token no one may ${deed}`);
  return forbidden(`${quote(subject)} may not ${deed}: no rule of its own allows it`);
}

/** Whether a page in a browser sent this. A page cannot leave these headers out, and others seldom send them. */
const fromBrowser = (header: Headers): boolean => header.has("origin") || header.has("sec-fetch-site");
