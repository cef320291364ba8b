import type { MapCall, MapOperation, MapOutcome, Violation } from "./map-history.js";
import type { SimulationResult } from "./simulation.js";

/** The lines of the log that come with a failure: its end is the part that matters. */
const LOG_LINES = 60;

/** What is wrong with a simulation, the operations that show it, and how to repeat it. */
export function formatViolations({ seed, violations, log }: SimulationResult): string {
  return [
    `seed ${seed}; repeat it with: MAP_SEED=${seed} npm run test:map`,
    ...violations.map(formatViolation),
    `faults and the servers' log, in ms of virtual time${log.length > LOG_LINES ? ", its end" : ""}:`,
    ...log.slice(-LOG_LINES),
  ].join("\n");
}

function formatViolation({ key, why, operations }: Violation): string {
  return [`${key}: ${why}`, ...operations.map(formatOperation)].join("\n");
}

/** One operation, as "12-15 c1 put v7 if 3: version 4". The numbers count the calls and returns of all clients. */
function formatOperation({ client, input, calledAt, returnedAt, output }: MapOperation): string {
  const end = returnedAt === Number.POSITIVE_INFINITY ? "" : returnedAt;
  return `  ${calledAt}-${end} c${client} ${formatCall(input)}: ${formatOutcome(output)}`;
}

function formatCall(call: MapCall): string {
  const condition = "condition" in call && call.condition ? ` if ${call.condition}` : "";
  return call.do === "put" ? `put ${call.value}${condition}` : `${call.do}${condition}`;
}

function formatOutcome(outcome: MapOutcome | undefined): string {
  if (!outcome) return "unknown";
  if ("conflict" in outcome) return `conflict with version ${outcome.actual}`;
  if ("version" in outcome) return `version ${outcome.version}`;
  return outcome.entry ? `${outcome.entry.value} with version ${outcome.entry.version}` : "nothing";
}
