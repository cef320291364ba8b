import type { Workload } from "./workload.js";
import { counter } from "./workloads/counter.js";
import { events } from "./workloads/events.js";
import { files } from "./workloads/files.js";
import { ids } from "./workloads/ids.js";
import { locks } from "./workloads/locks.js";
import { records } from "./workloads/records.js";
import { registers } from "./workloads/registers.js";
import { settings } from "./workloads/settings.js";
import { watches } from "./workloads/watches.js";

/** What the clients of a fault run do, all at the same time. */
export const workloads: readonly Workload[] = [
  counter,
  registers,
  locks,
  ids,
  events,
  records,
  settings,
  watches,
  files,
];
