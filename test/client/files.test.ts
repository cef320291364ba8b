import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Code, type ConnectError } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import fc from "fast-check";
import { test } from "vitest";
import { FileUpload } from "../../src/client/files/upload.js";
import {
  createFiles,
  type DownloadProgress,
  type FileContent,
  type FileRange,
  type UploadProgress,
} from "../../src/client/files.js";
import { rechunk } from "../../src/lib/rechunk.js";
import { utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { silent } from "../../src/server/context.js";
import type { BlobStore } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { forEachProtocol, openInProcess, overHttp } from "../support/protocols.js";

const PIECE = 64 * 1024;

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

/** Bytes that differ from place to place. */
function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0, x = 1; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer, 0, length);
}

/** `bytes` in chunks of growing sizes: none, one byte, and beyond a piece. */
async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  let size = 0;
  for (let at = 0; at < bytes.length; at += size, size = size * 3 + 1) yield bytes.subarray(at, at + size);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** A memory engine that counts the blobs which are being read. */
function watchedEngine() {
  const engine = memoryEngine();
  const { blobs } = engine;
  const open = { reads: 0 };
  const get: BlobStore["get"] = async (name, range) => {
    const found = await blobs.get(name, range);
    if (!found) return undefined;
    const content = async function* () {
      open.reads++;
      try {
        yield* found.content;
      } finally {
        open.reads--;
      }
    };
    return { ...found, content: content() };
  };
  return { ...engine, blobs: over(blobs, { get }), open };
}

/** `blobs` with some methods replaced. */
const over = (blobs: BlobStore, methods: Partial<BlobStore>): BlobStore => ({
  put: (...args) => blobs.put(...args),
  get: (...args) => blobs.get(...args),
  stat: (...args) => blobs.stat(...args),
  list: (...args) => blobs.list(...args),
  delete: (...args) => blobs.delete(...args),
  ...methods,
});

/** Waits until `holds`: what it waits for comes by itself, soon. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    assert.ok(i < 400, `${holds} within 2 s`);
    await sleep(5);
  }
}

forEachProtocol("upload", (open) => {
  test("put() and get() carry several MB, a stream in pieces of any size", async () => {
    await using at = await open();
    const files = createFiles(at.transport, "default");
    const content = bytesOf(3 * 1024 ** 2 + 17);
    const stored = await files.put("a/b.bin", chunks(content), { metadata: { owner: "ада" } });
    assert.equal(stored?.sha256, sha256(content));
    await using file = await files.get("a/b.bin");
    assert.ok(file);
    assert.deepEqual(file.info, stored);
    assert.deepEqual(file.info.metadata, { owner: "ада" });
    assert.equal(sha256(await file.bytes()), sha256(content));
  });

  test("an empty file is there, with its headers", async () => {
    await using at = await open();
    const files = createFiles(at.transport, "default");
    await files.put("empty", "", { contentType: "text/x-nothing" });
    await using file = await files.get("empty");
    assert.deepEqual([file?.info.size, file?.info.contentType], [0, "text/x-nothing"]);
    assert.equal(await file?.text(), "");
  });

  test("aborting put() leaves the old file, and lets go of the stream", async () => {
    await using at = await open();
    const files = createFiles(at.transport, "default");
    await files.put("f", "old");
    let canceled = false;
    const abort = new AbortController();
    const stream = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          if (sent++ === 3) abort.abort();
          else controller.enqueue(new Uint8Array(PIECE));
        },
        cancel() {
          canceled = true;
        },
      },
      { highWaterMark: 0 },
    );
    let sent = 0;
    await assert.rejects(files.put("f", stream, { signal: abort.signal }), { code: Code.Canceled });
    assert.ok(canceled);
    await sleep(20);
    assert.equal(await (await files.get("f"))?.text(), "old");
  });

  test("what the source throws is what put() throws, and the old file stays", async () => {
    const logged: unknown[] = [];
    const log = { ...silent, error: (...line: unknown[]) => logged.push(line) };
    await using at = await open({ log });
    const files = createFiles(at.transport, "default");
    await files.put("f", "old");
    const broken = new Error("disk on fire");
    async function* source() {
      yield bytesOf(100_000);
      throw broken;
    }
    assert.equal(await files.put("f", source()).catch((error: unknown) => error), broken);
    await sleep(20);
    assert.equal(await (await files.get("f"))?.text(), "old");
    assert.deepEqual(logged, []);
  });

  test("a refusal in the middle is what put() fails with, and it lets go of the source", async () => {
    await using at = await open({ engine: memoryEngine({ maxBlobBytes: 1_000_000 }) });
    let ended = false;
    async function* endless() {
      try {
        while (true) yield new Uint8Array(PIECE);
      } finally {
        ended = true;
      }
    }
    const files = createFiles(at.transport, "default");
    await assert.rejects(files.put("f", endless()), {
      code: Code.ResourceExhausted,
      message: /maxBlobBytes/,
    });
    assert.ok(ended);
    assert.equal(await files.stat("f"), undefined);
  });

  test("a refusal reaches put() while its source still waits for its first bytes", async () => {
    await using at = await open();
    let letGo = false;
    const stuck: AsyncIterator<Uint8Array> = {
      next: () => new Promise(() => {}),
      async return() {
        letGo = true;
        return { done: true, value: undefined };
      },
    };
    const source = { [Symbol.asyncIterator]: () => stuck };
    await assert.rejects(createFiles(at.transport, "nope").put("f", source), { code: Code.InvalidArgument });
    assert.ok(letGo);
  });
});

forEachProtocol("download", (open) => {
  test("get() reads ranges, and what is not there is undefined", async () => {
    await using at = await open();
    const content = bytesOf(300_000);
    await createFiles(at.server.transport(), "default").put("f", content);
    const files = createFiles(at.transport, "default");
    for (const [offset, length] of [
      [0, 1],
      [70_000, 131_072],
      [299_999, 5],
      [300_000, 1],
      [5, 0],
      [9],
    ] as const) {
      const file = await files.get("f", { range: { offset, ...(length !== undefined && { length }) } });
      const end = length === undefined ? undefined : offset + length;
      assert.deepEqual(await file?.bytes(), content.slice(offset, end), `${offset} ${length}`);
      assert.equal(file?.info.size, 300_000);
    }
    assert.equal(await files.get("missing"), undefined);
    assert.equal(await files.stat("missing"), undefined);
    assert.equal(await files.delete("missing"), false);
  });

  test("a file that is left, canceled or closed is let go of on the server", async () => {
    const engine = watchedEngine();
    await using at = await open({ engine });
    await createFiles(at.server.transport(), "default").put("f", bytesOf(8 * 1024 ** 2));
    const files = createFiles(at.transport, "default");

    for await (const piece of (await files.get("f")) ?? assert.fail()) {
      assert.equal(engine.open.reads, 1);
      assert.ok(piece.length <= PIECE);
      break;
    }
    await until(() => engine.open.reads === 0);

    const canceled = await files.get("f");
    assert.equal(engine.open.reads, 1);
    await canceled?.stream.cancel();
    await until(() => engine.open.reads === 0);

    const unread = await files.get("f");
    assert.equal(engine.open.reads, 1);
    await unread?.close();
    await unread?.close();
    await until(() => engine.open.reads === 0);
    await assert.rejects(async () => unread?.bytes(), { code: Code.Canceled });

    const abort = new AbortController();
    const aborted = await files.get("f", { signal: abort.signal });
    abort.abort();
    await until(() => engine.open.reads === 0);
    await assert.rejects(async () => aborted?.bytes(), { code: Code.Canceled });
  });

  test("a download that the server breaks off when it closes fails, and is not taken for whole", async () => {
    const block = randomBytes(PIECE);
    const content = async function* () {
      for (let i = 0; i < 16_384; i++) yield block;
    };
    const info = { name: "", size: 16_384 * PIECE, sha256: "", modifiedMs: 0, metadata: {} };
    const engine = memoryEngine();
    const get = async () => ({ info, content: content() });
    await using at = await open({ engine: { ...engine, blobs: over(engine.blobs, { get }) } });
    const file = await createFiles(at.transport, "default").get("f");
    await at.server.close();
    await assert.rejects(async () => file?.bytes(), { code: Code.Unavailable });
  });

  test("list() pages on its own, and delete() removes", async () => {
    await using at = await open();
    const here = createFiles(at.server.transport(), "default");
    for (const name of ["a/1", "a/2", "a/3", "b/1"]) await here.put(name, name);
    const files = createFiles(at.transport, "default");
    const names = async (prefix: string) =>
      (await all(files.list(prefix, { pageSize: 2 }))).map(({ name }) => name);
    assert.deepEqual(await names("a/"), ["a/1", "a/2", "a/3"]);
    assert.equal(await files.delete("a/2"), true);
    assert.deepEqual(await names(""), ["a/1", "a/3", "b/1"]);
    const [first] = await all(files.list());
    assert.deepEqual(first, await files.stat("a/1"));
  });
});

test("put() takes every kind of content, and knows the type of most", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  const bytes = utf8("Grüße");
  const octets = "application/octet-stream";
  const kinds: [content: FileContent, type: string][] = [
    ["Grüße", "text/plain; charset=utf-8"],
    [bytes, octets],
    [bytes.buffer, octets],
    [Buffer.from("xGrüße").subarray(1), octets],
    [new Blob(["Grü", "ße"], { type: "text/x-greeting" }), "text/x-greeting"],
    [new Blob([bytes]), octets],
    [new Blob([bytes]).stream(), octets],
    [chunks(bytes), octets],
  ];
  for (const [content, type] of kinds) {
    await files.put("f", content);
    const file = await files.get("f");
    assert.equal(file?.info.contentType, type);
    assert.equal(await file.text(), "Grüße");
  }
  await files.put("f", "{}", { contentType: "application/json" });
  assert.equal((await files.stat("f"))?.contentType, "application/json");
});

test("put() refuses what cannot be put before it calls", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  for (const content of [undefined, null, 7, {}, [1, 2]]) {
    await assert.rejects(files.put("f", content as never), /^TypeError: Cannot put "f": the content must be/);
  }
  for (const key of ["contentType", "sha256", "ifAbsent"]) {
    await assert.rejects(files.put("f", "", { metadata: { [key]: "x" } }), TypeError);
  }
  async function* words() {
    yield "not bytes" as never;
  }
  await assert.rejects(files.put("f", words()), /^TypeError: Cannot upload a string/);
  const locked = new Blob(["x"]).stream();
  locked.getReader();
  await assert.rejects(files.put("f", locked), TypeError);
  assert.equal(await files.stat("f"), undefined);
});

test("get() and list() refuse numbers that are none", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  for (const range of [{ offset: -1 }, { offset: 0.5 }, { offset: 0, length: Number.NaN }]) {
    await assert.rejects(files.get("f", { range }), RangeError);
  }
  for (const pageSize of [0, -1, 1.5]) assert.throws(() => files.list("", { pageSize }), RangeError);
});

test("get() takes a range without bounds for the whole file, and one past the end for what there is", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  await files.put("f", "0123456789");
  const ranges: [range: FileRange, text: string, status: number][] = [
    [{}, "0123456789", 200],
    [{ offset: undefined, length: undefined } as never, "0123456789", 200],
    [{ length: 3 }, "012", 206],
    [{ offset: 7 }, "789", 206],
    [{ offset: 7, length: Number.POSITIVE_INFINITY }, "789", 206],
    [{ offset: 7, length: 2 ** 60 }, "789", 206],
    [{ offset: 0, length: Number.MAX_VALUE }, "0123456789", 200],
    [{ length: 0 }, "", 416],
    [{ offset: 10 }, "", 416],
    [{ offset: Number.MAX_SAFE_INTEGER }, "", 416],
    [{ offset: 2 ** 60, length: 5 }, "", 416],
    [{ offset: Number.POSITIVE_INFINITY }, "", 416],
  ];
  for (const [range, text, status] of ranges) {
    const response = (await files.get("f", { range }))?.response();
    assert.deepEqual([await response?.text(), response?.status], [text, status], JSON.stringify(range));
  }
});

test("the content of a file can be taken once, in any form", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  await files.put("f", "hello", { contentType: "text/x-hello" });
  const open = async () => (await files.get("f")) ?? assert.fail();

  const blob = await (await open()).blob();
  assert.deepEqual([blob.type, await blob.text()], ["text/x-hello", "hello"]);
  assert.equal(await new Response((await open()).stream).text(), "hello");
  const file = await open();
  assert.equal(await file.text(), "hello");
  await assert.rejects(file.bytes(), /^TypeError: Cannot read "f" twice/);
  assert.throws(() => file.response(), TypeError);
  const streamed = await open();
  await streamed.stream.pipeTo(new WritableStream());
  await assert.rejects(streamed.bytes(), TypeError);
});

test("response() is what a web server would answer, for a range too", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  const info = await files.put("f", "0123456789");
  const answer = async (range?: { offset: number; length?: number }) => {
    const response = (await files.get("f", range && { range }))?.response() ?? assert.fail();
    const header = (name: string) => response.headers.get(name);
    assert.equal(header("etag"), `"${sha256("0123456789")}"`);
    assert.equal(
      Date.parse(header("last-modified") ?? ""),
      Math.floor(Number(info?.modifiedAt) / 1000) * 1000,
    );
    return [response.status, header("content-length"), header("content-range"), await response.text()];
  };
  assert.deepEqual(await answer(), [200, "10", null, "0123456789"]);
  assert.deepEqual(await answer({ offset: 2, length: 3 }), [206, "3", "bytes 2-4/10", "234"]);
  assert.deepEqual(await answer({ offset: 8, length: 99 }), [206, "2", "bytes 8-9/10", "89"]);
  assert.deepEqual(await answer({ offset: 10 }), [416, "0", "bytes */10", ""]);
});

test("onProgress tells of each piece, and what it throws ends the transfer", async () => {
  const engine = watchedEngine();
  await using at = await openInProcess({ engine });
  const files = createFiles(at.transport, "default");
  const content = bytesOf(PIECE * 2 + 1);
  const sent: UploadProgress[] = [];
  await files.put("f", content, { onProgress: (progress) => sent.push(progress) });
  const steps = [PIECE, PIECE * 2, content.length];
  const totalBytes = content.length;
  assert.deepEqual(
    sent,
    steps.map((sentBytes) => ({ sentBytes, totalBytes })),
  );
  const received: DownloadProgress[] = [];
  await (await files.get("f", { onProgress: (progress) => received.push(progress) }))?.bytes();
  assert.deepEqual(
    received,
    steps.map((receivedBytes) => ({ receivedBytes, totalBytes })),
  );

  const enough = new Error("enough");
  const onProgress = () => {
    throw enough;
  };
  await assert.rejects(files.put("f", "new", { onProgress }), enough);
  await assert.rejects(async () => (await files.get("f", { onProgress }))?.bytes(), enough);
  await until(() => engine.open.reads === 0);
  assert.equal((await files.stat("f"))?.size, content.length);
});

test("of 64 that put the same absent file one wins, and the file is its", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  const put = (i: number) => files.put("f", chunks(utf8(`content of ${i}`)), { ifAbsent: true });
  const results = await Promise.allSettled(Array.from({ length: 64 }, (_, i) => put(i)));
  const winners = results.flatMap(({ status }, i) => (status === "fulfilled" ? [i] : []));
  assert.equal(winners.length, 1);
  assert.equal(await (await files.get("f"))?.text(), `content of ${winners[0]}`);
  for (const result of results) {
    if (result.status === "rejected") assert.equal((result.reason as ConnectError).code, Code.Aborted);
  }
  assert.deepEqual((await files.stat("f"))?.metadata, {});
});

test("a reader of a file that is overwritten or deleted sees the old one to its end", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  const old = bytesOf(1_000_000);
  await files.put("f", old);
  const [first, second] = [await files.get("f"), await files.get("f")];
  await files.put("f", "new");
  assert.equal(sha256((await first?.bytes()) ?? ""), sha256(old));
  await files.delete("f");
  assert.equal(sha256((await second?.bytes()) ?? ""), sha256(old));
});

test("a put() that waits for its source ends at its deadline, and when the server closes", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  await files.put("f", "old");
  const waiting = () =>
    new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(utf8("ne")),
      cancel: () => void canceled++,
    });
  let canceled = 0;
  await assert.rejects(files.put("f", waiting(), { timeoutMs: 50 }), { code: Code.DeadlineExceeded });
  assert.equal(canceled, 1);
  assert.equal(await (await files.get("f"))?.text(), "old");
  const late = assert.rejects(files.put("f", waiting()), { code: Code.Unavailable });
  await sleep(20);
  await at.server.close();
  await late;
  assert.equal(canceled, 2);
});

test("put() does not wait for a source that never comes back", async () => {
  await using at = await openInProcess();
  async function* stuck() {
    yield await new Promise<Uint8Array>(() => {});
  }
  const put = createFiles(at.transport, "default").put("f", stuck(), { timeoutMs: 50 });
  await assert.rejects(put, { code: Code.DeadlineExceeded });
});

test("an upload that was let go of has no end", async () => {
  const pieces = new FileUpload(new ReadableStream<Uint8Array>(), "Cannot put it");
  const waiting = pieces.pieces().next();
  await pieces.close();
  await assert.rejects(waiting, { code: Code.Canceled });
});

test("an upload that a client of plain Node gives up is not taken for whole", async () => {
  // Node ends an HTTP/2 request just before it resets it; our own transport does not.
  const plain = (url: string) => createConnectTransport({ baseUrl: url, httpVersion: "2" });
  await using at = await overHttp(plain)();
  const files = createFiles(at.transport, "default");
  for (let i = 0; i < 20; i++) {
    async function* source() {
      for (let j = 0; j < i; j++) yield bytesOf(1000);
      throw new Error("given up");
    }
    await assert.rejects(files.put("f", source()), /given up/);
  }
  await sleep(20);
  assert.equal(await files.stat("f"), undefined);
});

test("rechunk() changes where bytes are cut, and nothing else", async () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 20 }));
  await fc.assert(
    fc.asyncProperty(pieces, fc.integer({ min: 1, max: 12 }), async (given, size) => {
      const list = async function* () {
        yield* given;
      };
      const cut = await all(rechunk(list(), size));
      assert.deepEqual(Buffer.concat(cut), Buffer.concat(given));
      assert.ok(cut.slice(0, -1).every(({ length }) => length === size));
      assert.ok(cut.every(({ length }) => length > 0 && length <= size));
    }),
  );
});

test("list() gives every name once, in byte order, whatever the page size and the prefix", async () => {
  // Two that UTF-16 order has the wrong way round, and what is special in a pattern or a path.
  const part = fc.constantFrom("a", "b", "/", "..", "%", "\u{ffff}", "\u{1f511}", "ж", "\u0000");
  const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""));
  const names = fc.uniqueArray(name, { maxLength: 24 });
  const prefix = fc.oneof(fc.constant(""), part);
  await fc.assert(
    fc.asyncProperty(names, prefix, fc.integer({ min: 1, max: 8 }), async (names, prefix, pageSize) => {
      const { blobs, ...engine } = memoryEngine();
      const none = async function* () {};
      for (const name of names) {
        await blobs.put(`default\0${name}`, none(), { metadata: {}, ifAbsent: false });
      }
      await using at = await openInProcess({ engine: { ...engine, blobs } });
      const listed = await all(createFiles(at.transport, "default").list(prefix, { pageSize }));
      const wanted = names.filter((name) => name.startsWith(prefix));
      wanted.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      assert.deepEqual(
        listed.map(({ name }) => name),
        wanted,
      );
    }),
    { numRuns: 60 },
  );
});

const SIZE = 3 * 10_000 + 7;
const range = fc.record(
  { offset: fc.nat(SIZE + 10), length: fc.oneof(fc.nat(10), fc.nat(SIZE + 10)) },
  { requiredKeys: ["offset"] },
);

test("get() of any range is the slice of the content", async () => {
  await using at = await openInProcess();
  const files = createFiles(at.transport, "default");
  const content = bytesOf(SIZE);
  await files.put("f", chunks(content));
  await fc.assert(
    fc.asyncProperty(range, async ({ offset, length }) => {
      const file = await files.get("f", { range: { offset, ...(length !== undefined && { length }) } });
      const end = length === undefined ? undefined : offset + length;
      assert.deepEqual(await file?.bytes(), content.slice(offset, end));
    }),
  );
});
