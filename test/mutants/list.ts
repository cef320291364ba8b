import { bindingsMutants } from "./list/bindings.js";
import { configurationMutants } from "./list/configuration.js";
import { blobsMutants } from "./list/engine/blobs.js";
import { keysMutants } from "./list/engine/keys.js";
import { logsMutants } from "./list/engine/logs.js";
import { topicsMutants } from "./list/engine/topics.js";
import { filesMutants } from "./list/files.js";
import { gossipMapMutants } from "./list/gossip-map.js";
import { helloMutants } from "./list/hello.js";
import { lifecycleMutants } from "./list/lifecycle.js";
import { lockMutants } from "./list/lock.js";
import { logMutants } from "./list/log.js";
import { mapMutants } from "./list/map.js";
import { pubsubMutants } from "./list/pubsub.js";
import { requestsMutants } from "./list/requests.js";
import { secretsMutants } from "./list/secrets.js";
import { sequencerMutants } from "./list/sequencer.js";
import { serviceMutants } from "./list/service.js";
import { stateMutants } from "./list/state.js";
import type { Mutant } from "./mutant.js";

/** All mutants. `npm run mutants -- --quick` runs the first of each primitive. */
export const mutants: readonly Mutant[] = [
  ...helloMutants,
  ...stateMutants,
  ...lockMutants,
  ...sequencerMutants,
  ...pubsubMutants,
  ...filesMutants,
  ...mapMutants,
  ...gossipMapMutants,
  ...logMutants,
  ...configurationMutants,
  ...secretsMutants,
  ...bindingsMutants,
  ...serviceMutants,
  ...lifecycleMutants,
  ...requestsMutants,
  ...keysMutants,
  ...logsMutants,
  ...topicsMutants,
  ...blobsMutants,
];
