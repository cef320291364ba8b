import assert from "node:assert/strict";
import { test } from "vitest";
import { createJudge, judgePages, verdictTable } from "../../src/conformance/index.js";
import { listen } from "../../src/server/node.js";
import { beJudged } from "../judge/loop.js";

async function open() {
  const judge = createJudge();
  const pages = judgePages(judge);
  const at = await listen(judge.server, { port: 0, pages, graceMs: 0 });
  return { judge, pages, url: at.url, [Symbol.asyncDispose]: () => at.close() };
}

test.concurrent.each(["connect", "grpc", "tunnel"] as const)(
  "our own facades handle every answer, by %s",
  async (way) => {
    await using at = await open();
    await beJudged(at.url, way);
    const verdicts = at.judge.verdicts();
    assert.ok(verdicts.length >= 60);
    assert.ok(
      verdicts.every(({ status }) => status === "handled"),
      verdictTable(verdicts),
    );
  },
);
