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
import { files } from "./message-registry.js";
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

/** The calls that go on until somebody ends them, which a server does that closes. All others come to an end. */
const ENDLESS = new Set<DescMethod>([
  Runtime.method.subscribeConfiguration,
  Runtime.method.subscribeTopicEvents,
  LogService.method.consume,
  MapService.method.backup,
  GossipMapService.method.connect,
  Health.method.watch,
  ServerReflection.method.serverReflectionInfo,
  OldServerReflection.method.serverReflectionInfo,
]);

/** Files have been compressed by whoever wanted them so, and are too large to do it again for each reader. */
const AS_IT_IS = new Set<DescMethod>([Runtime.method.getFile]);

/** Those that work without the engine, and say so when it is away. */
const WITHOUT_ENGINE = new Set<DescService>([Lifecycle, Health, ServerReflection, OldServerReflection]);

/** Every service that the server has, each method from the file of its primitive. */
export function routes(
  context: ServiceContext,
  ready: () => Promise<Readiness>,
  draining: AbortSignal,
): (router: ConnectRouter) => void {
  // Made once: a router is built for each door, and all of them lead to the same services.
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
  const served: DescService[] = [...api, Health, ServerReflection, OldServerReflection];
  const health = healthService(
    new Map(served.map((service) => [service.typeName, { needsEngine: !WITHOUT_ENGINE.has(service) }])),
    ready,
    draining,
  );
  const reflection = reflectionService(
    served.map(({ typeName }) => typeName),
    files,
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

function serveOn(router: ConnectRouter, closing: AbortSignal) {
  return <S extends DescService>(service: S, methods: ServiceImpl<S>): void => {
    for (const method of service.methods) {
      const impl = methods[method.localName as keyof typeof methods] as MethodImpl<DescMethod>;
      router.rpc(method, impl, {
        ...(ENDLESS.has(method) && { shutdownSignal: closing }),
        ...(AS_IT_IS.has(method) && { compressMinBytes: Number.MAX_SAFE_INTEGER }),
      });
    }
  };
}
