import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/server/config/config.js";
import type { Engine } from "../../src/server/engine.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import type { ConfigInput } from "../../src/server/index.js";
import type { JetStreamEngineOptions } from "../../src/server/jetstream.js";
import { JetStreamEngines } from "./jetstream-engines.js";

/** The engine of the servers in this run: undefined is the memory engine. See the vitest configurations. */
export const testEngine = process.env["TEST_ENGINE"] as "disk" | "jetstream" | undefined;

let engines: JetStreamEngines | undefined;

/** Opens an empty engine of the kind that this run tests, with the bounds of `config`. Undefined: the memory engine. */
export async function openTestEngine(config: ConfigInput | undefined): Promise<Engine | undefined> {
  if (testEngine === undefined) return undefined;
  const { engines: bounds } = parseConfig(config);
  if (testEngine === "disk") return openTemporaryDiskEngine(bounds.disk);
  engines ??= new JetStreamEngines([process.env["TEST_NATS_URL"] ?? ""], 1);
  return engines.open((bounds as { jetstream?: Partial<JetStreamEngineOptions> }).jetstream);
}

async function openTemporaryDiskEngine(bounds: object): Promise<Engine> {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  const engine = await openDiskEngine({ folder, ...bounds });
  const close = async () => {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  };
  return { ...engine, close };
}
