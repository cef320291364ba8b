import type { ConnectRouter } from "@connectrpc/connect";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { GossipMapService } from "../../gen/atomix/map/map_pb.js";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { ServiceContext } from "./context.js";
import { bindingsService } from "./services/bindings.js";
import { configurationService } from "./services/configuration.js";
import { fileService } from "./services/file.js";
import { gossipMapService } from "./services/gossip-map.js";
import { helloService } from "./services/hello.js";
import { invocationService } from "./services/invocation.js";
import { lifecycleService } from "./services/lifecycle.js";
import { lockService } from "./services/lock.js";
import { logService } from "./services/log.js";
import { mapService } from "./services/map.js";
import { pubsubService } from "./services/pubsub.js";
import { secretsService } from "./services/secrets.js";
import { sequencerService } from "./services/sequencer.js";
import { stateService } from "./services/state.js";

/** Every service that the server has, each method from the file of its primitive. */
export function routes(context: ServiceContext): (router: ConnectRouter) => void {
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
  return (router) => {
    router.service(Runtime, runtime);
    router.service(Lifecycle, lifecycle);
    router.service(MapService, maps);
    router.service(GossipMapService, gossipMaps);
    router.service(LogService, logs);
  };
}
