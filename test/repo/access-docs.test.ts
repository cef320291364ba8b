import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { createServer } from "../../src/server/index.js";
import { nodePlatform } from "../../src/server/node.js";

const page = readFileSync(join(import.meta.dirname, "../../docs/access.md"), "utf8");
const TOKEN = "a-token-of-the-environment";

test("each JSON block of docs/access.md is a configuration that the server accepts", async () => {
  const blocks = [...page.matchAll(/^```json\n([\s\S]*?)^```$/gm)].map(([, code = ""]) => code);
  assert.ok(blocks.length >= 6, `${blocks.length} blocks`);
  const platform = { ...nodePlatform, env: { ADMIN_TOKEN: TOKEN, SHOP_TOKEN: TOKEN } };
  for (const code of blocks) await createServer({ config: JSON.parse(code) as object, platform }).close();
});
