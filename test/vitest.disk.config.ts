import { defineConfig } from "vitest/config";
import shared from "./vitest.config.js";

const KEPT = ["state", "lock", "sequencer", "configuration", "files", "log", "map", "pubsub"];

/** The services whose data an engine keeps, on the disk engine. */
export default defineConfig({
  ...shared,
  test: {
    ...shared.test,
    include: KEPT.flatMap((name) => [`client/${name}.test.ts`, `decisions/${name}.test.ts`]),
    env: { TEST_ENGINE: "disk" },
  },
});
