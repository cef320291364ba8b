import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { engineConformance } from "../src/conformance/engine.js";
import { openDiskEngine } from "../src/server/engines/disk/engine.js";

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
});

afterAll(() => rm(folder, { recursive: true }));

const fresh = () => join(folder, `${++count}`);

describe("as every engine", () => engineConformance(test, () => openDiskEngine({ folder: fresh() })));
