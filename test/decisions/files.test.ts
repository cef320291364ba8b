import assert from "node:assert/strict";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { type PutFileRequestSchema, Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

const storeName = "default";

type Part = MessageInitShape<typeof PutFileRequestSchema>;

async function* sent(parts: Part[]): AsyncGenerator<Part> {
  yield* parts;
}

async function open(options: ServerOptions = {}) {
  const engine = memoryEngine();
  const at = await openInProcess({ engine, ...options });
  const runtime = createClient(Runtime, at.transport);
  return {
    runtime,
    put: (...parts: Part[]) => runtime.putFile(sent(parts)),
    /** Stores empty files without a call for each. */
    async fill(names: string[], metadata: Record<string, string> = {}) {
      const empty = async function* () {};
      for (const name of names) {
        await engine.blobs.put(`${storeName}\0${name}`, empty(), { metadata, ifAbsent: false });
      }
    },
    list: (name = "", rest: { pageSize?: number; marker?: string } = {}) =>
      runtime.listFile({ request: { storeName, name }, ...rest }),
    [Symbol.asyncDispose]: at[Symbol.asyncDispose],
  };
}

test("a limit is hit: of a file's metadata, which travels in a header", async () => {
  await using at = await open({ config: { limits: { fileMetadataBytes: 100 } } });
  const put = (length: number) => at.put({ storeName, name: "f", metadata: { owner: "x".repeat(length) } });
  await put(87);
  const error = await failure(put(88));
  assert.equal(error.code, Code.ResourceExhausted);
  assert.match(error.rawMessage, /fileMetadataBytes 100/);
});

test("ListFile: page_size 0 = 1000, and is_truncated is exact", async () => {
  await using at = await open();
  const names = Array.from({ length: 1001 }, (_, i) => `f${String(i).padStart(4, "0")}`);
  await at.fill(names.slice(0, 1000));
  const whole = await at.list();
  assert.deepEqual([whole.files.length, whole.isTruncated, whole.marker], [1000, false, "f0999"]);
  await at.fill(names.slice(1000));
  const page = await at.list();
  assert.deepEqual([page.files.length, page.isTruncated, page.marker], [1000, true, "f0999"]);
  const rest = await at.list("", { marker: page.marker });
  assert.deepEqual([rest.files.length, rest.isTruncated, rest.marker], [1, false, "f1000"]);
  assert.equal((await at.list("", { pageSize: 1001 })).files.length, 1001);
  const none = await at.list("x");
  assert.deepEqual([none.files.length, none.isTruncated, none.marker], [0, false, ""]);
});

test("ListFile: a page ends before it grows too large for gRPC clients, and says so", async () => {
  await using at = await open();
  const names = Array.from({ length: 600 }, (_, i) => `f${i}`);
  await at.fill(names, { note: "x".repeat(4000) });
  const page = await at.list();
  assert.ok(page.isTruncated && page.files.length > 500 && page.files.length < 600);
  assert.equal((await at.list("", { marker: page.marker })).files.length, 600 - page.files.length);
});
