import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { createFiles } from "../../../src/index.js";
import { openSeveral, type SeveralServers } from "../../support/several-servers.js";

const stores = ({ servers }: SeveralServers) =>
  servers.map(({ transport }) => createFiles(transport, "default"));

/** A content that shows from which write it is, and whether it is whole. */
const contentOf = (writer: number) => new Uint8Array(100_000 + writer).fill(writer);

test("a file that was stored on one server is read, listed and described the same on all", async () => {
  await using at = await openSeveral();
  const files = stores(at);
  const info = await files[0]?.put("a/b", contentOf(7), { metadata: { color: "red" } });
  for (const store of files) {
    assert.deepEqual(await (await store.get("a/b"))?.bytes(), contentOf(7));
    assert.deepEqual(await store.stat("a/b"), await files[0]?.stat("a/b"));
    assert.equal((await store.stat("a/b"))?.sha256, info?.sha256);
    const names = [];
    for await (const { name } of store.list("a/")) names.push(name);
    assert.deepEqual(names, ["a/b"]);
  }
  assert.equal(await files[2]?.delete("a/b"), true);
  assert.equal(await files[0]?.get("a/b"), undefined);
});

test("readers see whole files while writers on all servers replace them", async () => {
  await using at = await openSeveral();
  const files = stores(at);
  await files[0]?.put("f", contentOf(1));
  let isWriting = true;
  const writing = files.map(async (store, i) => {
    for (let n = 0; n < 10; n++) await store.put("f", contentOf(1 + ((i * 10 + n) % 200)));
  });
  const reading = files.map(async (store) => {
    let reads = 0;
    while (isWriting) {
      const bytes = (await (await store.get("f"))?.bytes()) ?? assert.fail("there is always a file");
      assert.deepEqual(bytes, contentOf(bytes[0] ?? 0));
      reads++;
      // Reads in this process take no turn of the event loop, which the writers need.
      await sleep(1);
    }
    return reads;
  });
  await Promise.all(writing);
  isWriting = false;
  for (const reads of await Promise.all(reading)) assert.ok(reads > 0);
});

test("of several writers with ifAbsent on several servers one stores the file", async () => {
  await using at = await openSeveral();
  const writes = stores(at).map((store, i) => store.put("new", contentOf(i + 1), { ifAbsent: true }));
  const results = await Promise.all(
    writes.map((write) =>
      write.then(
        (info) => (info ? "stored" : "refused"),
        (error: unknown) => ConnectError.from(error).message,
      ),
    ),
  );
  assert.equal(results.filter((result) => result === "stored").length, 1, String(results));
});
