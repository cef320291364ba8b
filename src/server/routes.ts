import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, MethodImpl, ServiceImpl } from "@connectrpc/connect";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { GossipMapService } from "../../gen/atomix/map/map_pb.js";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as OldServerReflection } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { ServiceContext } from "./context.js";
import type { Readiness } from "./http/readiness.js";
import { protoFiles } from "./message-registry.js";
import { bindingsService } from "./services/bindings.js";
import { configurationService } from "./services/configuration.js";
import { fileService } from "./services/files.js";
import { gossipMapService } from "./services/gossip-map.js";
import { healthService } from "./services/health.js";
import { helloService } from "./services/hello.js";
import { lifecycleService } from "./services/lifecycle.js";
import { lockService } from "./services/lock.js";
import { logService } from "./services/log.js";
import { mapService } from "./services/map.js";
import { pubsubService } from "./services/pubsub.js";
import { reflectionService } from "./services/reflection.js";
import { secretsService } from "./services/secrets.js";
import { sequencerService } from "./services/sequencer.js";
import { invocationService } from "./services/service.js";
import { stateService } from "./services/state.js";

/** The calls that have no end of their own: a server that closes ends them. */
const ENDLESS_CALLS = new Set<DescMethod>([
  Runtime.method.subscribeConfiguration,
  Runtime.method.subscribeTopicEvents,
  LogService.method.consume,
  MapService.method.backup,
  GossipMapService.method.connect,
  Health.method.watch,
  ServerReflection.method.serverReflectionInfo,
  OldServerReflection.method.serverReflectionInfo,
]);

/** The calls whose answers are not compressed: a file is large, and compressed by its writer if that is of use. */
const UNCOMPRESSED_CALLS = new Set<DescMethod>([Runtime.method.getFile]);

/** The services that work without the engine. */
const SERVICES_WITHOUT_ENGINE = new Set<DescService>([
  Lifecycle,
  Health,
  ServerReflection,
  OldServerReflection,
]);

/** Creates all services, and the function that registers them with a router. All routers share the services. */
export function createRoutes(
  context: ServiceContext,
  checkReadiness: () => Promise<Readiness>,
  draining: AbortSignal,
): (router: ConnectRouter) => void {
  const runtime = {
    ...stateService(context),
    ...lockService(context),
    ...sequencerService(context),
    ...pubsubService(context),
    ...fileService(context),
    ...configurationService(context),
    ...secretsService(context),
    ...bindingsService(context),
    ...invocationService(context),
    ...helloService(context),
  };
  const lifecycle = lifecycleService(context);
  const maps = mapService(context);
  const gossipMaps = gossipMapService(context);
  const logs = logService(context);
  const api = [Runtime, Lifecycle, LogService, MapService, GossipMapService];
  const all: DescService[] = [...api, Health, ServerReflection, OldServerReflection];
  const needs = all.map(
    (service) => [service.typeName, { needsEngine: !SERVICES_WITHOUT_ENGINE.has(service) }] as const,
  );
  const health = healthService(new Map(needs), checkReadiness, draining);
  const reflection = reflectionService(
    all.map(({ typeName }) => typeName),
    protoFiles,
  );
  return (router) => {
    const serve = serveOn(router, context.closing);
    serve(GossipMapService, gossipMaps);
    serve(MapService, maps);
    serve(Runtime, runtime);
    serve(Lifecycle, lifecycle);
    serve(LogService, logs);
    serve(Health, health);
    serve(ServerReflection, reflection);
    serve(OldServerReflection, reflection as unknown as ServiceImpl<typeof OldServerReflection>);
  };
}

/** Registers each method of a service with its options. */
function serveOn(router: ConnectRouter, closing: AbortSignal) {
  return <S extends DescService>(service: S, methods: ServiceImpl<S>): void => {
    for (const method of service.methods) {
      const handler = methods[method.localName as keyof typeof methods] as MethodImpl<DescMethod>;
      router.rpc(method, handler, {
        ...(ENDLESS_CALLS.has(method) && { shutdownSignal: closing }),
        ...(UNCOMPRESSED_CALLS.has(method) && { compressMinBytes: Number.MAX_SAFE_INTEGER }),
      });
    }
  };
}
