import type { DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import { LogService } from "../../../gen/atomix/log/log_pb.js";
import { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import type { RequestHeader } from "../../../gen/atomix/pb/headers/headers_pb.js";
import { MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import { AppCallback } from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { consumerGroupOf, fencesIn, logNameIn } from "../calls/request-names.js";
import { componentKindSpelled, type Primitive } from "../primitives.js";

export type Verb = "read" | "write";

/** The permission that one RPC needs. Its messages or headers name the store, by the name that rules have for it. */
export interface Permission<T = unknown> {
  readonly primitive: Primitive;
  /** A rule must allow all of these verbs. Without verbs, only "*" and the RPC's own name permit it. */
  readonly verbs: readonly Verb[];
  /** The store that a message names; undefined if it names none, like those after the first of an upload. */
  readonly store?: (message: T) => string | undefined;
  /** The consumer group whose events a message asks for; `appId` is this runtime's own id. */
  readonly group?: (message: T, header: Headers, appId: string) => string | undefined;
  /** The stores that the request's headers name. */
  readonly stores?: (header: Headers) => readonly string[];
  /** The lock stores of the fences in the request's headers. */
  readonly locks?: (header: Headers) => readonly string[];
}

/** The permission that `method` needs; undefined if its service is not about primitives. */
export const permissionOf = (method: DescMethod): Permission<never> | undefined => permissions.get(method);

/** The RPCs of a primitive by their names, for rules that are about single ones. */
export const rpcsOf = (primitive: Primitive | "*"): string[] =>
  [...permissions]
    .filter(([, permission]) => primitive === "*" || permission.primitive === primitive)
    .map(([method]) => method.name);

type Permissions<S extends DescService> = {
  [M in keyof S["method"]]: Permission<MessageShape<S["method"][M]["input"]>>;
};

const permissions = new Map<DescMethod, Permission<never>>();

/** Sets the permission of each RPC of `service`: the compiler ensures that none is missing. */
function define<S extends DescService>(service: S, rpcs: Permissions<S>): void {
  for (const method of service.methods) {
    permissions.set(
      method,
      (rpcs as Record<string, Permission<never>>)[method.localName] as Permission<never>,
    );
  }
}

const reads = ["read"] as const;
const writes = ["write"] as const;

/** The RPCs of a primitive whose requests have a `store_name`. */
const of = (primitive: Primitive, verbs: readonly Verb[]) => ({
  primitive,
  verbs,
  store: ({ storeName }: { storeName: string }) => named(storeName),
});

/** The RPCs of a primitive whose requests have the `store_name` in their own `request`. */
const ofInner = (primitive: Primitive, verbs: readonly Verb[]) => ({
  primitive,
  verbs,
  store: ({ request }: { request?: { storeName: string } }) => named(request?.storeName),
});

/** An empty name names no store: validation or the service refuses it if one is required. */
const named = (name: string | undefined) => name || undefined;

const locks = (header: Headers) => fencesIn(header).map(({ store }) => store);

define(Runtime, {
  sayHello: { primitive: "hello", verbs: reads, store: ({ serviceName }) => named(serviceName) },
  invokeService: { primitive: "service", verbs: writes, store: ({ id }) => named(id) },
  getConfiguration: of("configuration", reads),
  saveConfiguration: of("configuration", writes),
  deleteConfiguration: of("configuration", writes),
  subscribeConfiguration: of("configuration", reads),
  tryLock: of("lock", writes),
  unlock: of("lock", writes),
  lockKeepAlive: of("lock", writes),
  getNextId: of("sequencer", writes),
  getState: of("state", reads),
  getBulkState: of("state", reads),
  saveState: { ...of("state", writes), locks },
  deleteState: { ...of("state", writes), locks },
  deleteBulkState: { ...of("state", writes), locks },
  executeStateTransaction: { ...of("state", writes), locks },
  publishEvent: { primitive: "pubsub", verbs: writes, store: ({ pubsubName }) => named(pubsubName) },
  subscribeTopicEvents: {
    primitive: "pubsub",
    verbs: reads,
    store: ({ subscribeTopicEventsRequestType: request }) =>
      request.case === "initialRequest" ? named(request.value.pubsubName) : undefined,
    group: ({ subscribeTopicEventsRequestType: request }, header, appId) =>
      request.case === "initialRequest" ? consumerGroupOf(request.value, header, appId) : undefined,
  },
  getFile: of("files", reads),
  putFile: of("files", writes),
  listFile: ofInner("files", reads),
  delFile: ofInner("files", writes),
  getFileMeta: ofInner("files", reads),
  invokeBinding: { primitive: "bindings", verbs: writes, store: ({ name }) => named(name) },
  getSecret: of("secrets", reads),
  getBulkSecret: of("secrets", reads),
});

// For an app that dials in: only the RPC's own name, no verb, permits it to take the calls of the app that it claims
// to be.
const asApp = { primitive: "service", verbs: [] } as const;
define(AppCallback, { listTopicSubscriptions: asApp, onTopicEvent: asApp });

define(Lifecycle, {
  applyConfiguration: {
    primitive: "lifecycle",
    verbs: writes,
    store: ({ componentConfig: to }) => to && `${componentKindSpelled(to.kind) ?? to.kind}/${to.name}`,
  },
});

const logs = (header: Headers) => [logNameIn(header)];

define(LogService, {
  produce: { primitive: "log", verbs: writes, stores: logs },
  consume: { primitive: "log", verbs: reads, stores: logs },
});

/** The name of a map. A protocol group other than the default precedes it, as in the configuration. */
function map({ header }: { header?: RequestHeader }): string | undefined {
  if (!header?.primitive) return undefined;
  const name = fullName(header.primitive, "");
  // Validation refuses a request without a protocol group.
  const { namespace, name: group } = header.protocol ?? { namespace: "", name: "default" };
  if (namespace === "" && group === "default") return name;
  return `//${encoded(namespace)}/${encoded(group)}/${name}`;
}

define(MapService, {
  put: { primitive: "map", verbs: writes, store: map, locks },
  get: { primitive: "map", verbs: reads, store: map },
  remove: { primitive: "map", verbs: writes, store: map, locks },
  // For servers: a caller that may back up can replace any entry, with any version and term.
  backup: { primitive: "map", verbs: [], store: map },
});

define(GossipMapService, {
  // The service itself looks which keys the member may read, and which of these it may write.
  connect: {
    primitive: "gossipMap",
    verbs: reads,
    store: ({ target }) => target && fullName(target, "default"),
  },
});

/** `<namespace>/<name>`, or only the name in the default namespace of the facades. */
function fullName({ namespace, name }: { namespace: string; name: string }, usual: string): string {
  return namespace === usual ? encoded(name) : `${encoded(namespace)}/${encoded(name)}`;
}

/** A part of a name, encoded so that no name looks like one of another namespace. */
const encoded = (part: string): string => part.replace(/[%/]/g, encodeURIComponent);
