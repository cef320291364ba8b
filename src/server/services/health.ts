import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../../gen/grpc/health/v1/health_pb.js";
import { delay } from "../../lib/timer.js";
import { notFound } from "../errors.js";
import type { Readiness } from "../http/readiness.js";

/** How often the status of a watched service is checked. */
const CHECK_INTERVAL_MS = 500;

/** The services by their full name. A service that needs the engine is down while the engine is. */
export type HealthServices = ReadonlyMap<string, { needsEngine: boolean }>;

/** Health: the status of each service, and of the whole server as "". */
export function healthService(
  services: HealthServices,
  ready: () => Promise<Readiness>,
  draining: AbortSignal,
): ServiceImpl<typeof Health> {
  const all: HealthServices = new Map([["", { needsEngine: true }], ...services]);
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
      let last: Status | undefined;
      for (;;) {
        const status = await statusOf(service);
        if (status !== last) yield { status };
        last = status;
        signal.throwIfAborted();
        await delay(CHECK_INTERVAL_MS, signal);
      }
    },
  };
}
