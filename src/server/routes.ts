import type { ConnectRouter } from "@connectrpc/connect";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { ServiceContext } from "./context.js";
import { lockService } from "./services/lock.js";
import { sequencerService } from "./services/sequencer.js";
import { stateService } from "./services/state.js";

/** Every service that the server has, each method from the file of its primitive. */
export function routes(context: ServiceContext): (router: ConnectRouter) => void {
  const runtime = {
    ...stateService(context),
    ...lockService(context),
    ...sequencerService(context),
  };
  return (router) => {
    router.service(Runtime, runtime);
    router.service(Lifecycle, {});
  };
}
