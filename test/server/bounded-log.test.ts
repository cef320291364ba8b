import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { boundedLog } from "../../src/server/calls/bounded-log.js";
import { silent } from "../../src/server/context.js";

function open() {
  const lines: { fields: Record<string, unknown>; message: string }[] = [];
  const note = (fields: object, message: string) => void lines.push({ fields: { ...fields }, message });
  return { lines, log: boundedLog({ debug: note, info: note, warn: note, error: note }) };
}

test("every text in a log line is truncated, however deeply it is nested", () => {
  const { lines, log } = open();
  const long = "x".repeat(100_000);
  const inner = new Error(long);
  const err = new ConnectError(long, Code.Internal, { a: long }, undefined, inner);
  err.stack = long;
  log.warn({ app: long, err, list: Array(10_000).fill(long), deep: { a: { b: { c: { d: long } } } } }, long);
  log.error({ [long]: 1, bytes: new Uint8Array(1000) }, "m");
  assert.ok(JSON.stringify(lines).length < 25_000, String(JSON.stringify(lines).length));
  const { app, err: told } = (lines[0] as (typeof lines)[0]).fields as { app: string; err: ConnectError };
  assert.equal(app, `${"x".repeat(200)}… (100000 characters)`);
  assert.ok(told instanceof Error);
  assert.equal(told.name, "ConnectError");
  assert.equal(told.code, Code.Internal);
  assert.ok(told.message.length < 1100 && (told.stack?.length ?? 0) < 9000);
  assert.ok((told.cause as Error).message.length < 1100);
  assert.equal("details" in told, false);
});

test("short texts are logged unchanged", () => {
  const { lines, log } = open();
  const fields = { app: "shop", n: 1, url: undefined, names: ["a"] };
  log.info(fields, "an app is here");
  assert.deepEqual(lines, [{ fields, message: "an app is here" }]);
  assert.equal(boundedLog(silent), silent);
});

test("an error whose texts are short is logged itself, with its cause; one with a long cause as a copy of its type", () => {
  const { lines, log } = open();
  const err = new TypeError("it broke", { cause: new RangeError("too far") });
  log.error({ err }, "m");
  assert.equal(lines[0]?.fields["err"], err);

  const cause = new RangeError("x".repeat(100_000));
  const long = Object.assign(new TypeError("it broke", { cause }), { code: "EFAR" });
  log.error({ err: long }, "m");
  const copy = lines[1]?.fields["err"] as typeof long;
  assert.notEqual(copy, long);
  assert.ok(copy instanceof TypeError && copy.cause instanceof RangeError);
  assert.deepEqual([copy.name, copy.message, copy.code], ["TypeError", "it broke", "EFAR"]);
  assert.equal(copy.stack, long.stack);
  assert.ok(copy.cause.message.length < 1100);

  let nested = new Error("innermost");
  for (let i = 0; i < 20; i++) nested = new Error("outer", { cause: nested });
  log.error({ err: nested }, "m");
  let depth = 0;
  for (let at: unknown = lines[2]?.fields["err"]; at instanceof Error; at = at.cause) depth++;
  assert.ok(depth <= 4, `${depth} causes`);
});
