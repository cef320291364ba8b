import { defineConfig } from "vitest/config";
import { PRIMITIVE_NAMES, PRIMITIVES } from "../src/server/primitives.js";
import shared from "./vitest.config.js";

/** The names of the test files of primitives whose data an engine keeps. */
const stored = PRIMITIVE_NAMES.filter((name) => PRIMITIVES[name].isStored).map((name) =>
  name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
);

/** Tests of the primitives whose data an engine keeps, on the disk engine. */
export default defineConfig({
  ...shared,
  test: {
    ...shared.test,
    // Its gossip intervals are shorter than a durable write takes.
    exclude: ["client/gossip-map.test.ts"],
    include: stored.flatMap((name) => [`client/${name}.test.ts`, `decisions/${name}.test.ts`]),
    env: { TEST_ENGINE: "disk" },
  },
});
