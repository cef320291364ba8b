import { calls } from "./calls.js";
import type { Case } from "./case.js";
import { configuration } from "./configuration.js";
import { bindings, secrets, service } from "./external-systems.js";
import { files } from "./files.js";
import { gossipMap } from "./gossip-map.js";
import { lifecycle } from "./lifecycle.js";
import { lock } from "./lock.js";
import { log } from "./log.js";
import { map } from "./map.js";
import { pubsub } from "./pubsub.js";
import { sequencer } from "./sequencer.js";
import { state } from "./state.js";

/** The cases of each primitive. */
export const CASES: Readonly<Record<string, Case[]>> = {
  state,
  lock,
  sequencer,
  pubsub,
  files,
  map,
  gossipMap,
  log,
  configuration,
  secrets,
  bindings,
  service,
  "lifecycle and hello": lifecycle,
  "errors, deadlines and signals": calls,
};
