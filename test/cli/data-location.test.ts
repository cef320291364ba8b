import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test, vi } from "vitest";
import { chooseDataLocation } from "../../src/cli/data-location.js";
import { installCommand } from "../../src/cli/install-command.js";
import { isStoreInstalled, STORE_PACKAGE } from "../../src/server/disk.js";

vi.mock(import("../../src/server/engines/disk/store-installed.js"), async (load) => {
  const module = await load();
  return { ...module, isStoreInstalled: vi.fn(module.isStoreInstalled) };
});

let folder: string;
let before: string;

beforeEach(async () => {
  before = process.cwd();
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  process.chdir(folder);
});

afterEach(async () => {
  process.chdir(before);
  await rm(folder, { recursive: true });
});

test("with classic-level the data is in ./fairlead-data, or in the folder that --data names", async () => {
  assert.deepEqual(await chooseDataLocation({}), { type: "disk", folder: "fairlead-data" });
  assert.deepEqual(await chooseDataLocation({ data: "elsewhere" }), { type: "disk", folder: "elsewhere" });
  assert.deepEqual(await chooseDataLocation({ memory: true }), { type: "memory" });
});

test("without classic-level nothing is kept, and a notice has the command that adds it", async () => {
  vi.mocked(isStoreInstalled).mockResolvedValue(false);
  assert.deepEqual(await chooseDataLocation({}), {
    type: "memory",
    notice:
      "nothing is kept: all data is lost when the server ends. " +
      "To keep it in ./fairlead-data: npm install classic-level@3",
  });
  assert.deepEqual(await chooseDataLocation({ memory: true }), { type: "memory" });
});

test("without classic-level the server does not start without data that is there or asked for", async () => {
  vi.mocked(isStoreInstalled).mockResolvedValue(false);
  const needs = /^Error: a data folder needs a package that is not installed: npm install classic-level@3$/;
  await assert.rejects(chooseDataLocation({ data: "elsewhere" }), needs);
  await mkdir("fairlead-data");
  await assert.rejects(chooseDataLocation({}), /\.\/fairlead-data has data, .*classic-level@3; .*--memory$/);
  assert.deepEqual(await chooseDataLocation({ memory: true }), { type: "memory" });
});

test("installCommand() fits the way in which fairlead was installed", async () => {
  const file = "node_modules/fairlead/dist/src/cli/install-command.js";
  assert.equal(
    installCommand([STORE_PACKAGE], "serve", join(folder, file)),
    "npm install --global classic-level@3",
  );
  await writeFile("package.json", "{}");
  assert.equal(installCommand([STORE_PACKAGE], "serve", join(folder, file)), "npm install classic-level@3");
  assert.equal(installCommand([STORE_PACKAGE], "serve"), "npm install classic-level@3", "a clone");
  assert.equal(
    installCommand([STORE_PACKAGE], "serve", `/home/ada/.npm/_npx/0123456789abcdef/${file}`),
    "npx -p fairlead -p classic-level@3 fairlead serve",
  );
});
