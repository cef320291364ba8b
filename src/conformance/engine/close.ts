import { utf8 } from "../../lib/utf8.js";
import { type Engine, EngineFault } from "../../server/engine.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok, rejects } from "../expect.js";
import { patternBytes } from "../test-data.js";
import { pausedContent } from "./paused-content.js";
import { collect, type Reader, reader } from "./reader.js";
import { neverAborts } from "./timing.js";
import { commitWrites, set } from "./writes.js";

/** Cases of engine.close(). */
export function engineCloseCases(on: DeclareEngineCase): void {
  closedEngineCases(on);
  closedStreamCases(on);
  closedReadCases(on);
  closedUploadCases(on);
}

function closedEngineCases(on: DeclareEngineCase): void {
  on("engine.name is not empty", async ({ name }) => {
    ok(name.length > 0, "it has a name");
  });

  on("engine.close() is idempotent", async (engine) => {
    await engine.keys.commit([set("k")]);
    await Promise.all([engine.close(), engine.close()]);
    await engine.close();
  });

  on("engine: leaving an `await using` closes", async (engine) => {
    if (Symbol.asyncDispose === undefined) return;
    await engine[Symbol.asyncDispose]();
    await rejects(() => engine.keys.get("k"), isEngineUnavailable);
  });

  on("engine.close() makes every later call fail as away", async (engine) => {
    await engine.close();
    for (const [description, call] of Object.entries(callEveryMethod(engine)))
      await rejects(call, isEngineUnavailable, description);
  });

  on("engine.close() makes every later call fail as away where there was something", async (engine) => {
    const { keys, logs, topics, blobs } = engine;
    await keys.commit([set("k")]);
    await logs.append("l", [utf8("a")]);
    const event = reader(topics.consume("t", "g", neverAborts()));
    await topics.publish("t", [utf8("a")]);
    await event.next();
    await blobs.put("b", content("text"), { metadata: {}, ifAbsent: false });
    await engine.close();
    for (const [description, call] of Object.entries(callEveryMethod(engine)))
      await rejects(call, isEngineUnavailable, description);
  });
}

function closedStreamCases(on: DeclareEngineCase): void {
  on("engine.close() ends every watch, follow and consume", async (engine) => {
    const { keys, logs, topics } = engine;
    await logs.append("l", [utf8("a")]);
    const open: Reader<unknown>[] = [
      reader(keys.watch("", neverAborts())),
      reader(logs.read("l", 2n, { follow: true, signal: neverAborts() })),
      reader(logs.read("unknown", 1n, { follow: true, signal: neverAborts() })),
      reader(topics.consume("t", "g", neverAborts())),
    ];
    for (const iteration of open) await iteration.quiet(2);
    const unread: AsyncIterable<unknown>[] = [
      keys.watch("", neverAborts()),
      topics.consume("t", "g", neverAborts()),
    ];
    const ends = open.map((iteration) => iteration.end());
    await engine.close();
    await Promise.all(ends);
    for (const iteration of unread) equal(await collect(iteration), []);
  });
}

function closedReadCases(on: DeclareEngineCase): void {
  on(
    "engine.close() cuts nothing short that has an end of its own: it comes to it or fails",
    async (engine) => {
      const { keys, logs, blobs } = engine;
      const whole = patternBytes(500_000);
      await commitWrites(keys, ...Array.from({ length: 600 }, (_, i) => set(`k${i}`)));
      await logs.append(
        "l",
        Array.from({ length: 600 }, (_, i) => utf8(`${i}`)),
      );
      for (let i = 0; i < 5; i++)
        await blobs.put(`b${i}`, content(`${i}`), { metadata: {}, ifAbsent: false });
      await blobs.put("large", content(whole), { metadata: {}, ifAbsent: false });
      const blob = await blobs.get("large");
      ok(blob, "the blob is there");
      const bounded: [string, AsyncIterable<number>, number][] = [
        ["keys.list", countItems(keys.list("k"), () => 1), 600],
        [
          "logs.read",
          countItems(logs.read("l", 1n, { follow: false, signal: neverAborts() }), ({ length }) => length),
          600,
        ],
        ["blobs.list", countItems(blobs.list("b"), () => 1), 5],
        ["a blob's content", countItems(blob.content, ({ length }) => length), whole.length],
      ];
      const started = await Promise.all(
        bounded.map(async ([description, iterable, most]) => {
          const rest = iterable[Symbol.asyncIterator]();
          const { value: first } = await rest.next();
          return { what: description, rest, first, most };
        }),
      );
      await engine.close();
      for (const { what: description, rest, first, most } of started) {
        try {
          let sum = first;
          for await (const count of { [Symbol.asyncIterator]: () => rest }) sum += count;
          equal(sum, most, description);
        } catch (error) {
          if (!isEngineUnavailable(error)) throw error;
        }
      }
    },
  );
}

function closedUploadCases(on: DeclareEngineCase): void {
  on("engine.close() leaves a blob unstored whose content has not ended", async (engine) => {
    const contents = [
      pausedContent(patternBytes(128 * 1024), utf8("last")),
      pausedContent(patternBytes(128 * 1024)),
    ];
    const putting = contents.map(({ content }, i) =>
      rejects(
        () => engine.blobs.put(`b${i}`, content, { metadata: {}, ifAbsent: false }),
        isEngineUnavailable,
      ),
    );
    for (const { stopped } of contents) await stopped;
    const closing = engine.close();
    for (const { go } of contents) go();
    await Promise.all(putting);
    await closing;
  });
}

async function* countItems<T>(
  iterable: AsyncIterable<T>,
  count: (item: T) => number,
): AsyncGenerator<number> {
  for await (const item of iterable) yield count(item);
}

async function* content(of: string | Uint8Array): AsyncGenerator<Uint8Array> {
  yield typeof of === "string" ? utf8(of) : of;
}

const isEngineUnavailable = (error: unknown): boolean =>
  error instanceof EngineFault && error.reason === "unavailable";

/** One call of every method of the engine. */
function callEveryMethod({ keys, logs, topics, blobs }: Engine): Record<string, () => Promise<unknown>> {
  return {
    "keys.get": () => keys.get("k"),
    "keys.getMany": () => keys.getMany(["k"]),
    "keys.commit": () => keys.commit([set("k")]),
    "keys.list": async () => collect(keys.list("")),
    "keys.watch": async () => collect(keys.watch("", neverAborts())),
    "logs.append": () => logs.append("l", [utf8("a")]),
    "logs.read": async () => collect(logs.read("l", 1n, { follow: false, signal: neverAborts() })),
    "logs.read with follow": async () => collect(logs.read("l", 1n, { follow: true, signal: neverAborts() })),
    "logs.bounds": () => logs.bounds("l"),
    "logs.seek": () => logs.seek("l", 0),
    "logs.retain": () => logs.retain("l", {}),
    "topics.publish": () => topics.publish("t", [utf8("a")]),
    "topics.createGroup": () => topics.createGroup("t", "g"),
    "topics.consume": async () => collect(topics.consume("t", "g", neverAborts())),
    "blobs.put": () => blobs.put("b", content("text"), { metadata: {}, ifAbsent: false }),
    "blobs.get": () => blobs.get("b"),
    "blobs.stat": () => blobs.stat("b"),
    "blobs.list": async () => collect(blobs.list("")),
    "blobs.delete": () => blobs.delete("b"),
  };
}
