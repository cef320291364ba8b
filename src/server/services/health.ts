import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../../gen/grpc/health/v1/health_pb.js";
import { delay } from "../../lib/timer.js";
import { notFound } from "../errors.js";
import type { Readiness } from "../http/readiness.js";

/** How often a service that is watched is looked at. */
const LOOK_EVERY_MS = 500;

/** Whether a service needs the engine, by its full name. */
export type Served = ReadonlyMap<string, { needsEngine: boolean }>;

/** Health: the state of each service in `served`, and of the whole server under "". */
export function healthService(
  served: Served,
  ready: () => Promise<Readiness>,
  draining: AbortSignal,
): ServiceImpl<typeof Health> {
  const all: Served = new Map([["", { needsEngine: true }], ...served]);
  const statusOf = async (service: string): Promise<Status> => {
    const known = all.get(service);
    if (!known) return Status.SERVICE_UNKNOWN;
    const serving = known.needsEngine ? (await ready()).ready : !draining.aborted;
    return serving ? Status.SERVING : Status.NOT_SERVING;
  };
  return {
    async check({ service }) {
      const status = await statusOf(service);
      if (status === Status.SERVICE_UNKNOWN) throw notFound("service", service);
      return { status };
    },
    async list() {
      const statuses: Record<string, { status: Status }> = {};
      for (const service of all.keys()) statuses[service] = { status: await statusOf(service) };
      return { statuses };
    },
    async *watch({ service }, { signal }) {
      let told: Status | undefined;
      for (;;) {
        const status = await statusOf(service);
        if (status !== told) yield { status };
        told = status;
        signal.throwIfAborted();
        await delay(LOOK_EVERY_MS, signal);
      }
    },
  };
}
