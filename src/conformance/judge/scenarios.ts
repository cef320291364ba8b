import { bindingScenarios } from "./bindings.js";
import { bulkScenarios } from "./bulk.js";
import { configurationScenarios } from "./configuration.js";
import { errorScenarios } from "./errors.js";
import { fileScenarios } from "./files.js";
import { folderScenarios } from "./folder.js";
import { helloScenarios } from "./hello.js";
import { lifecycleScenarios } from "./lifecycle.js";
import { lockScenarios } from "./lock.js";
import { logScenarios } from "./log.js";
import { mapScenarios } from "./map.js";
import { pubsubScenarios } from "./pubsub.js";
import type { Scenario } from "./scenario.js";
import { secretScenarios } from "./secrets.js";
import { sequencerScenarios } from "./sequencer.js";
import { serviceScenarios } from "./service.js";
import { stateScenarios } from "./state.js";
import { transactionScenarios } from "./transactions.js";

/** All scenarios. */
export const scenarios: readonly Scenario[] = [
  ...errorScenarios,
  ...stateScenarios,
  ...transactionScenarios,
  ...bulkScenarios,
  ...lockScenarios,
  ...sequencerScenarios,
  ...pubsubScenarios,
  ...fileScenarios,
  ...folderScenarios,
  ...mapScenarios,
  ...logScenarios,
  ...configurationScenarios,
  ...secretScenarios,
  ...bindingScenarios,
  ...serviceScenarios,
  ...helloScenarios,
  ...lifecycleScenarios,
];
