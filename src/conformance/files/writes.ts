import { Code, ConnectError } from "@connectrpc/connect";
import { utf8 } from "../../lib/utf8.js";
import type { DeclareCase } from "../case.js";
import { equal, rejects } from "../expect.js";
import { errorMetadata, expectMalformed, expectRefusal } from "../expect-refusal.js";
import { CHUNK_BYTES, type FileCalls, type Part } from "./calls.js";

export function putFileCases(on: DeclareCase<FileCalls>): void {
  on("PutFile", "every message may carry data, the first one too", async (at) => {
    const first = { storeName: at.storeName, name: at.file("f"), data: utf8("one ") };
    await at.put(first, { data: utf8("two ") }, {}, { data: utf8("three") });
    equal((await at.get("f")).text, "one two three");
  });

  on(
    "PutFile",
    "the first message names store, name and metadata, and later ones change nothing of them",
    async (at) => {
      const first = { storeName: at.storeName, name: at.file("f"), metadata: { owner: "ada" } };
      await at.put(first, {
        storeName: "other",
        name: at.file("g"),
        data: utf8("x"),
        metadata: { owner: "bob" },
      });
      equal((await at.get("f")).text, "x");
      equal((await at.metadata("f"))["owner"], "ada");
      await expectRefusal(at.get("g"), Code.NotFound);
    },
  );

  on("PutFile", "a file without data is empty, and is there", async (at) => {
    await at.put({ storeName: at.storeName, name: at.file("f") });
    equal([(await at.getMeta("f")).size, (await at.get("f")).bytes.length], [0n, 0]);
  });

  on("PutFile", "a shorter file replaces a longer one whole", async (at) => {
    await at.store("f", "a long content", { owner: "ada" });
    await at.store("f", "short");
    equal((await at.get("f")).text, "short");
    equal((await at.metadata("f"))["owner"], undefined, "what was kept with the one before");
  });

  on("PutFile", "zero messages are invalid_argument", async (at) => {
    await expectMalformed(at.put(), "store_name");
  });

  on(
    "PutFile",
    "a first message without a store or a name is invalid_argument, whatever comes later",
    async (at) => {
      const { storeName } = at;
      await expectMalformed(at.put({ name: at.file("f") }, { storeName, name: at.file("f") }), "store_name");
      await expectMalformed(at.put({ storeName }, { storeName, name: at.file("f") }), "name");
      await expectRefusal(at.get("f"), Code.NotFound);
    },
  );
}

export function createOnlyFileCases(on: DeclareCase<FileCalls>): void {
  on(["PutFile", "extensions"], 'metadata ifAbsent "true" creates only, and is not kept', async (at) => {
    await at.store("f", "first", { ifAbsent: "true" });
    const error = await expectRefusal(at.store("f", "second", { ifAbsent: "true" }), Code.Aborted);
    equal(errorMetadata(error)?.["key"], at.file("f"));
    equal((await at.get("f")).text, "first");
    equal((await at.metadata("f"))["ifAbsent"], undefined);
    await at.store("f", "third", { ifAbsent: "false" });
    equal((await at.get("f")).text, "third");
  });

  on(["PutFile", "extensions"], "of many that create the same file one gets through", async (at) => {
    const calls = Array.from({ length: 8 }, (_, i) => at.store("f", `${i}`, { ifAbsent: "true" }));
    const settled = await Promise.allSettled(calls);
    const won = settled.flatMap(({ status }, i) => (status === "fulfilled" ? [`${i}`] : []));
    equal(won.length, 1, "those that got through");
    equal((await at.get("f")).text, won[0]);
  });
}

/** A promise and the function that resolves it. */
function createGate(): { opened: Promise<void>; open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

export function unfinishedUploadCases(on: DeclareCase<FileCalls>): void {
  on(["PutFile", "upload"], "a file that is being written is not there before its end", async (at) => {
    const [middle, looked] = [createGate(), createGate()];
    async function* slow(): AsyncGenerator<Part> {
      yield { storeName: at.storeName, name: at.file("f"), data: new Uint8Array(CHUNK_BYTES) };
      middle.open();
      await looked.opened;
      yield { data: utf8("end") };
    }
    const put = at.stream(slow());
    await middle.opened;
    await expectRefusal(at.get("f"), Code.NotFound);
    equal((await at.list()).files, []);
    looked.open();
    await put;
    equal((await at.getMeta("f")).size, BigInt(CHUNK_BYTES + 3));
  });

  on(["PutFile", "upload"], "a file that is being replaced is the old one until the end", async (at) => {
    await at.store("f", "old");
    const [middle, looked] = [createGate(), createGate()];
    async function* slow(): AsyncGenerator<Part> {
      yield { storeName: at.storeName, name: at.file("f"), data: new Uint8Array(2 * CHUNK_BYTES) };
      middle.open();
      await looked.opened;
    }
    const put = at.stream(slow());
    await middle.opened;
    equal((await at.get("f")).text, "old");
    looked.open();
    await put;
    equal((await at.getMeta("f")).size, BigInt(2 * CHUNK_BYTES));
  });

  on(["PutFile", "upload"], "a stream that breaks leaves the file as it was", async (at) => {
    await at.store("f", "old");
    async function* broken(): AsyncGenerator<Part> {
      yield { storeName: at.storeName, name: at.file("f"), data: new Uint8Array(CHUNK_BYTES) };
      throw new ConnectError("given up", Code.Canceled);
    }
    await rejects(() => at.stream(broken()));
    equal((await at.get("f")).text, "old");
  });

  on(["PutFile", "upload"], "a call that is cancelled leaves no file", async (at) => {
    const cancellation = new AbortController();
    async function* cut(): AsyncGenerator<Part> {
      yield { storeName: at.storeName, name: at.file("f"), data: new Uint8Array(CHUNK_BYTES) };
      cancellation.abort();
    }
    await expectRefusal(at.stream(cut(), cancellation.signal), Code.Canceled);
    await expectRefusal(at.get("f"), Code.NotFound);
  });

  on("PutFile", "a malformed message later on leaves no file", async (at) => {
    const first = { storeName: at.storeName, name: at.file("f"), data: utf8("x") };
    await expectMalformed(at.put(first, { metadata: { ifAbsent: "?" } }), 'metadata["ifAbsent"]');
    await expectRefusal(at.get("f"), Code.NotFound);
  });
}
