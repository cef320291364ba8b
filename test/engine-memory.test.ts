import { test } from "vitest";
import { engineConformance } from "../src/conformance/engine.js";
import { memoryEngine } from "../src/server/engines/memory.js";

engineConformance(test, async () => memoryEngine());
