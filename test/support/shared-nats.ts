import { hasNatsServer, startNats } from "./nats-cluster.js";

/** For vitest's globalSetup: one nats-server for all test files of the run, at TEST_NATS_URL. */
export async function setup(): Promise<() => Promise<void>> {
  if (!hasNatsServer("the services on JetStream")) return async () => {};
  const nats = await startNats({ nodes: 1 });
  process.env["TEST_NATS_URL"] = nats.urls[0];
  return async () => {
    await nats[Symbol.asyncDispose]();
  };
}
