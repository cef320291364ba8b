import { defineConfig } from "vitest/config";
import onDisk from "./vitest.disk.config.js";

/** Tests of the primitives whose data an engine keeps, and the conformance suite, on one nats-server. */
export default defineConfig({
  ...onDisk,
  test: {
    ...onDisk.test,
    include: [
      ...(onDisk.test?.include ?? []),
      "conformance/in-process.test.ts",
      "server/several-servers/*.test.ts",
    ],
    globalSetup: "support/shared-nats.ts",
    env: { TEST_ENGINE: "jetstream" },
  },
});
