import type { DescMethod } from "@bufbuild/protobuf";
import type {
  ConnectError,
  ContextValues,
  Interceptor,
  StreamRequest,
  UnaryRequest,
} from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { AppCallback } from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { quote } from "../../lib/quote.js";
import { abortReasonOf, withMessage } from "../../rpc/dispatch/lazy-signal.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import { toAnswerError, VERSION } from "../calls/error-mapping.js";
import { noteRefusal, requestIdIn } from "../calls/observe.js";
import { type Handle, type Routes, withValue, wrapHandlers } from "../calls/wrap-handlers.js";
import type { Logger, Platform } from "../context.js";
import {
  type Caller,
  callerFinder,
  callerKey,
  type FindCaller,
  forbidden,
  refusalOf,
  trusted,
  unauthenticated,
} from "./callers.js";
import { endAtExpiry } from "./expiry.js";
import { permissionOf } from "./permissions.js";
import { sendRefusal } from "./refusal.js";
import { mentions, operationOf, permits, type RpcOperation } from "./rules.js";
import { type AccessSettings, isOn } from "./settings.js";

/** The subject of a caller that has shown valid credentials; undefined for all others. */
export function subjectOf(values: ContextValues): string | undefined {
  const caller = values.get(callerKey);
  return caller && caller !== trusted && caller.hasToken ? caller.subject : undefined;
}

/** Whether a method needs no credentials: orchestrators check the server's health, and learn nothing else. */
export const needsNoCredentials = ({ parent }: DescMethod): boolean =>
  parent.typeName.startsWith("grpc.health.");

/** Authentication and authorization: by the headers before a body is read, and by each message for its store. */
export interface Access {
  /** Whether access control is on. */
  readonly isOn: boolean;
  /** Whether this `authorization` header names a caller, who may then read the metrics. True without access control. */
  isKnown(authorization: string | null): Promise<boolean>;
  /** Wraps the handlers of `routes`: a call without a caller who may make it is refused before its body is read. */
  protect(routes: Routes): Routes;
  /** Wraps the handlers of `routes` for this process itself, which needs no credentials. */
  trust(routes: Routes): Routes;
  /** Does what protect() does for one call of a tunnel: notes its caller in `values`. Throws a refusal. */
  authorize(method: DescMethod, header: Headers, values: ContextValues): Promise<void> | undefined;
  /** Authorizes the sender of this `authorization` header to be the app `appId`, or rejects with a refusal. */
  authorizeApp(appId: string, authorization: string | null): Promise<AuthorizedApp>;
  /** Refuses messages about stores that the caller has no right to, and calls that passed no gate. */
  readonly interceptor: Interceptor;
}

/** The rights of an app that dialled in. */
interface AuthorizedApp {
  /** Whether it may have the events of this consumer group. */
  mayRead(pubsub: string, group: string): Promise<boolean>;
  /** When its credentials expire, in Unix milliseconds; undefined: never. */
  readonly expiresAtMs: number | undefined;
}

interface AccessOptions {
  platform: Pick<Platform, "fetch" | "env">;
  log: Logger;
  /** This runtime's own app id. */
  appId: string;
  /** Whether an app has this id: the consumer group of that name is then its own. */
  isApp(id: string): Promise<boolean>;
}

/** The settings of a gate, and the environment that it works in. */
interface Gate extends AccessOptions {
  readonly settings: AccessSettings;
  readonly findCaller: FindCaller;
}

/** Creates the access control of a server. */
export function createAccess(settings: AccessSettings, options: AccessOptions): Access {
  const findCaller = callerFinder(settings, options);
  const gate: Gate = { ...options, settings, findCaller };
  const isAccessOn = isOn(settings);
  return {
    isOn: isAccessOn,
    async isKnown(authorization) {
      try {
        return (await findCaller(authorization)).hasToken;
      } catch {
        return false;
      }
    },
    protect: (routes) => wrapHandlers(routes, (handler) => protectHandler(handler, gate)),
    trust: (routes) =>
      wrapHandlers(routes, (handler) => (request) => handler(withValue(request, callerKey, trusted))),
    authorize(method, header, values) {
      // Without access control, only secrets have a check: web pages may not read them.
      if (isAccessOn || permissionOf(method)?.primitive === "secrets") {
        return authorizeHeaders(method, header, gate).then((caller) => void values.set(callerKey, caller));
      }
      values.set(callerKey, trusted);
      return undefined;
    },
    authorizeApp: (appId, authorization) => authorizeApp(appId, authorization, gate),
    interceptor: (next) => (request) => {
      const caller = request.contextValues.get(callerKey);
      if (!caller) throw unauthenticated("this call came by no gate: the server's own routes must be used");
      const { expiresAtMs } = caller;
      const checked = checkMessages(caller, request, gate);
      if (!checked.stream || expiresAtMs === undefined) return next(checked);
      return endAtExpiry(next, checked, expiresAtMs);
    },
  };
}

/** Refuses a call before its body is read if its caller may not make it. */
function protectHandler(handler: UniversalHandler, gate: Gate): Handle {
  return async (request) => {
    let caller: Caller;
    try {
      caller = await authorizeHeaders(handler.method, request.header, gate);
    } catch (error) {
      const call = { reqId: requestIdIn(request.contextValues), method: handler.requestPath.slice(1) };
      const refusal = toAnswerError(error, abortReasonOf(request), call, gate.log);
      refusal.metadata.set(SERVER_HEADER, VERSION);
      noteRefusal(request.contextValues, refusal.code);
      return sendRefusal(request, refusal);
    }
    return handler(withValue(request, callerKey, caller));
  };
}

/** The caller, who may make this call as far as its headers tell. Throws a refusal. */
async function authorizeHeaders(
  method: DescMethod,
  header: Headers,
  { findCaller, settings }: Gate,
): Promise<Caller> {
  if (needsNoCredentials(method)) return trusted;
  const caller = await findCaller(header.get("authorization"));
  const permission = permissionOf(method);
  if (!permission) return caller;
  const operation = operationOf(permission, method.name);
  const stores = permission.stores?.(header) ?? [undefined];
  for (const store of stores) {
    if (!permits(caller.rules, operation, store)) throw operationRefusal(caller, operation, store);
  }
  for (const lock of permission.locks?.(header) ?? []) {
    if (mentions(caller.rules, "lock", lock)) continue;
    throw refusalOf(caller, `use the fences of lock ${quote(lock)}`);
  }
  if (permission.primitive === "secrets" && !settings.secretsFromBrowsers && isFromBrowser(header)) {
    throw forbidden("secrets are not for web pages: only access.secretsFromBrowsers lets them have one");
  }
  return caller;
}

/** The operation of an app that receives events: only its own RPC name in a rule permits it. */
const RECEIVE_EVENTS: RpcOperation = {
  primitive: "service",
  verbs: [],
  rpc: AppCallback.method.onTopicEvent.name,
};

const SUBSCRIBE: RpcOperation = {
  primitive: "pubsub",
  verbs: ["read"],
  rpc: Runtime.method.subscribeTopicEvents.name,
};

async function authorizeApp(
  appId: string,
  authorization: string | null,
  { findCaller, isApp }: Gate,
): Promise<AuthorizedApp> {
  const caller = await findCaller(authorization);
  const { rules, expiresAtMs } = caller;
  if (!permits(rules, RECEIVE_EVENTS, appId)) throw operationRefusal(caller, RECEIVE_EVENTS, appId);
  return {
    async mayRead(pubsub, group) {
      if (!permits(rules, SUBSCRIBE, pubsub, group)) return false;
      return caller === trusted || permits(rules, RECEIVE_EVENTS, group) || !(await isApp(group));
    },
    expiresAtMs,
  };
}

/** The request; each of its messages is refused if the caller has no right to its store or its consumer group. */
function checkMessages<R extends UnaryRequest | StreamRequest>(caller: Caller, request: R, gate: Gate): R {
  const permission = permissionOf(request.method);
  if (caller === trusted || !permission?.store) return request;
  const operation = operationOf(permission, request.method.name);
  /** Throws a refusal, or returns the message's consumer group. */
  const check = (message: unknown): string | undefined => {
    const store = permission.store?.(message as never);
    const group = permission.group?.(message as never, request.header, gate.appId);
    if (store !== undefined && !permits(caller.rules, operation, store, group)) {
      throw operationRefusal(caller, operation, store, group);
    }
    return group;
  };
  if (!request.stream) {
    check(request.message);
    return request;
  }
  const { message: messages } = request;
  const checked = async function* () {
    for await (const message of messages) {
      const group = check(message);
      if (group !== undefined) await checkGroup(caller, group, gate);
      yield message;
    }
  };
  return withMessage(request, checked());
}

/** Throws a refusal if the consumer group belongs to an app, and the caller may not be that app. */
async function checkGroup(caller: Caller, group: string, { isApp }: Gate): Promise<void> {
  if (permits(caller.rules, RECEIVE_EVENTS, group) || !(await isApp(group))) return;
  throw refusalOf(caller, `have the events of the app ${quote(group)} (${RECEIVE_EVENTS.rpc})`);
}

function operationRefusal(
  caller: Caller,
  { primitive, verbs, rpc }: RpcOperation,
  store?: string,
  group?: string,
): ConnectError {
  const verb = verbs.length > 0 ? verbs.join(" and ") : rpc;
  const object =
    (store === undefined ? primitive : `${primitive} ${quote(store)}`) +
    (group === undefined ? "" : ` in group ${quote(group)}`);
  return refusalOf(caller, `${verb} ${object}${verbs.length > 0 ? ` (${rpc})` : ""}`);
}

/** Whether a page in a browser sent this. A page cannot leave these headers out, and other clients seldom send them. */
const isFromBrowser = (header: Headers): boolean => header.has("origin") || header.has("sec-fetch-site");
