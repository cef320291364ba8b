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

/** What one RPC asks for. The store is told by its messages or by its headers, and has the name that a rule gives it. */
export interface Question<T = unknown> {
  readonly primitive: Primitive;
  /** The verbs that let it pass, all of them; where there is none, only "*" and the RPC's own name do. */
  readonly verbs: readonly Verb[];
  /** The store that a message names; undefined where it names none, as those after the first of an upload. */
  readonly store?: (message: T) => string | undefined;
  /** The consumer group whose events a message asks for; `appId` is this runtime's own. */
  readonly group?: (message: T, header: Headers, appId: string) => string | undefined;
  /** The stores that the request's headers name. */
  readonly stores?: (header: Headers) => readonly string[];
  /** The lock stores whose fences the request's headers want to be checked. */
  readonly locks?: (header: Headers) => readonly string[];
}

/** What `method` asks for; undefined where it belongs to a service that is not about primitives. */
export const questionOf = (method: DescMethod): Question<never> | undefined => questions.get(method);

/** The RPCs of a primitive by their names, for rules that are about single ones. */
export const rpcsOf = (primitive: Primitive | "*"): string[] =>
  [...questions]
    .filter(([, question]) => primitive === "*" || question.primitive === primitive)
    .map(([method]) => method.name);

type Asked<S extends DescService> = {
  [M in keyof S["method"]]: Question<MessageShape<S["method"][M]["input"]>>;
};

const questions = new Map<DescMethod, Question<never>>();

/** One question for each RPC of `service`: the compiler sees to it that none is forgotten. */
function asks<S extends DescService>(service: S, asked: Asked<S>): void {
  for (const method of service.methods) {
    questions.set(method, (asked as Record<string, Question<never>>)[method.localName] as Question<never>);
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

/** The same, where it stands in the request's own `request`. */
const ofInner = (primitive: Primitive, verbs: readonly Verb[]) => ({
  primitive,
  verbs,
  store: ({ request }: { request?: { storeName: string } }) => named(request?.storeName),
});

/** An empty name names nothing: where one is required, the guard or the service refuses it. */
const named = (name: string | undefined) => name || undefined;

const locks = (header: Headers) => fencesIn(header).map(({ store }) => store);

asks(Runtime, {
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

// Asked of an app that dials in: no verb but the RPC's own name lets it take the calls of the app that it says it is.
const asApp = { primitive: "service", verbs: [] } as const;
asks(AppCallback, { listTopicSubscriptions: asApp, onTopicEvent: asApp });

asks(Lifecycle, {
  applyConfiguration: {
    primitive: "lifecycle",
    verbs: writes,
    store: ({ componentConfig: to }) => to && `${componentKindSpelled(to.kind) ?? to.kind}/${to.name}`,
  },
});

const logs = (header: Headers) => [logNameIn(header)];

asks(LogService, {
  produce: { primitive: "log", verbs: writes, stores: logs },
  consume: { primitive: "log", verbs: reads, stores: logs },
});

/** A map of another protocol group than the one that facades use has that in front, as the configuration calls it. */
function map({ header }: { header?: RequestHeader }): string | undefined {
  if (!header?.primitive) return undefined;
  const name = fullName(header.primitive, "");
  // Where there is none, the guard refuses the request.
  const { namespace, name: group } = header.protocol ?? { namespace: "", name: "default" };
  if (namespace === "" && group === "default") return name;
  return `//${encoded(namespace)}/${encoded(group)}/${name}`;
}

asks(MapService, {
  put: { primitive: "map", verbs: writes, store: map, locks },
  get: { primitive: "map", verbs: reads, store: map },
  remove: { primitive: "map", verbs: writes, store: map, locks },
  // A server's own: who may back up may put any entry, version and term in the place of another.
  backup: { primitive: "map", verbs: [], store: map },
});

asks(GossipMapService, {
  // A member is told of every change and may make any.
  connect: {
    primitive: "gossipMap",
    verbs: ["read", "write"],
    store: ({ target }) => target && fullName(target, "default"),
  },
});

/** `<namespace>/<name>`, or only the name where the namespace is the one that facades use if they are given none. */
function fullName({ namespace, name }: { namespace: string; name: string }, usual: string): string {
  return namespace === usual ? encoded(name) : `${encoded(namespace)}/${encoded(name)}`;
}

/** A part of a name, so that none can look like one of another namespace. */
const encoded = (part: string): string => part.replace(/[%/]/g, encodeURIComponent);
