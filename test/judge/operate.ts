import { setTimeout as delay } from "node:timers/promises";
import type { HeldLock } from "../../src/client/lock.js";
import type { Json, ScenarioOperation } from "../../src/conformance/index.js";
import { text as asText, type Fairlead, type Secret } from "../../src/index.js";

const coding = { codec: asText() };

/** Does what the judge asks for with the facades, on the store of that name, and gives what it is to be told. */
export async function operate(fl: Fairlead, store: string, asked: ScenarioOperation): Promise<Json> {
  const [primitive] = asked.call.split(".");
  switch (primitive) {
    case "state":
      return onState(fl, store, asked);
    case "lock":
      return onLock(fl, store, asked);
    case "files":
      return onFile(fl, store, asked);
    case "configuration":
      return onConfiguration(fl, store, asked);
    case "pubsub":
      return onPubsub(fl, store, asked);
    case "map":
    case "log":
      return onAtomix(fl, store, asked);
    default:
      return onOthers(fl, store, asked);
  }
}

async function onState(fl: Fairlead, store: string, asked: ScenarioOperation): Promise<Json> {
  const state = fl.state(store, coding);
  const read = ({ value, etag }: { value: string; etag: string }) => ({ text: value, etag });
  switch (asked.call) {
    case "state.get": {
      const { timeoutMs } = asked;
      const found = await state.get(asked.key, timeoutMs === undefined ? {} : { timeoutMs });
      return found ? read(found) : null;
    }
    case "state.getMany": {
      const found = await state.getMany(asked.keys);
      const entries = Object.fromEntries([...found].map(([key, entry]) => [key, read(entry)]));
      return { entries, errors: [...found.errors.keys()] };
    }
    case "state.set":
      await state.set(asked.key, asked.text, ifMatch(asked.etag));
      return null;
    case "state.delete":
      await state.delete(asked.key, ifMatch(asked.etag));
      return null;
    case "state.update":
      await state.update(asked.key, (value = "") => value + asked.add);
      return null;
    case "state.transaction":
      await state.transaction((tx) => {
        for (const { key, text, etag } of asked.steps) {
          if (text === undefined) tx.delete(key, ifMatch(etag));
          else tx.set(key, text, ifMatch(etag));
        }
      });
      return null;
    default:
      return onOthers(fl, store, asked);
  }
}

const ifMatch = (etag: string | undefined) => (etag === undefined ? {} : { ifMatch: etag });

async function onLock(fl: Fairlead, store: string, asked: ScenarioOperation): Promise<Json> {
  const lock = fl.lock(store);
  switch (asked.call) {
    case "lock.tryAcquire": {
      let held: HeldLock | undefined;
      for (let i = 0; i < (asked.times ?? 1); i++)
        held = await lock.tryAcquire(asked.resource, { ttlMs: asked.ttlSeconds * 1000 });
      return { granted: held !== undefined, fence: held?.fence?.toString() ?? null };
    }
    case "lock.release": {
      const held = await lock.acquire(asked.resource, { ttlMs: asked.ttlSeconds * 1000 });
      return held.release();
    }
    case "lock.hold": {
      const { signal } = await lock.acquire(asked.resource, { ttlMs: asked.ttlSeconds * 1000 });
      // In steps: a machine that stands still for a while has stood still for one of them, and the lease's timers go first.
      for (let ms = 0; ms < asked.forMs && !signal.aborted; ms += 100) await delay(100);
      return signal.aborted ? "lost" : "held";
    }
    default:
      throw new TypeError(`unknown operation ${asked.call}`);
  }
}

async function onFile(fl: Fairlead, store: string, asked: ScenarioOperation): Promise<Json> {
  const files = fl.files(store);
  switch (asked.call) {
    case "files.get": {
      const { offset, length } = asked;
      const range =
        offset === undefined ? {} : { range: { offset, ...(length !== undefined && { length }) } };
      return (await (await files.get(asked.name, range))?.text()) ?? null;
    }
    case "files.getFirst":
      for await (const piece of (await files.get(asked.name)) ?? []) return new TextDecoder().decode(piece);
      return "";
    case "files.stat": {
      const info = await files.stat(asked.name);
      if (!info) return null;
      const known = !Number.isNaN(info.modifiedAt.getTime());
      return { size: info.size, modifiedAt: known ? info.modifiedAt.toISOString() : null };
    }
    case "files.list": {
      const names: string[] = [];
      for await (const { name } of files.list(asked.prefix)) names.push(name);
      return names;
    }
    case "files.put":
      await files.put(asked.name, asked.text);
      return null;
    case "files.delete":
      return files.delete(asked.name);
    default:
      throw new TypeError(`unknown operation ${asked.call}`);
  }
}

async function onConfiguration(fl: Fairlead, store: string, asked: ScenarioOperation): Promise<Json> {
  const settings = fl.configuration(store);
  if (asked.call === "configuration.get") {
    const items = await settings.get(asked.keys);
    return Object.fromEntries([...items].map(([key, { content }]) => [key, content]));
  }
  if (asked.call !== "configuration.follow") throw new TypeError(`unknown operation ${asked.call}`);
  const { keys, until, pollMs, forMs } = asked;
  await using open = await settings.open({ keys, pollMs });
  const changes = open.changes({ signal: AbortSignal.timeout(forMs) })[Symbol.asyncIterator]();
  const wanted = JSON.stringify(Object.entries(until).sort());
  const isThere = () => JSON.stringify(Object.entries(open.current).sort()) === wanted;
  while (!isThere())
    if (
      await changes.next().then(
        ({ done }) => done,
        () => true,
      )
    )
      break;
  return { ...open.current } as Record<string, string>;
}

async function onPubsub(fl: Fairlead, store: string, asked: ScenarioOperation): Promise<Json> {
  const pubsub = fl.pubsub(store);
  if (asked.call === "pubsub.publish") {
    await pubsub.publish(asked.topic, asked.text ?? asked.json);
    return null;
  }
  const seen: Json[] = [];
  if (asked.call === "pubsub.consume") {
    for await (const message of pubsub.subscribe(asked.topic)) {
      message[asked.answers[seen.length] ?? "ack"]();
      if (seen.push(message.id) === asked.answers.length) break;
    }
  } else if (asked.call === "pubsub.consumeData") {
    for await (const message of pubsub.subscribe(asked.topic)) {
      const { data } = message;
      message.ack();
      if (
        seen.push(data instanceof Uint8Array ? new TextDecoder().decode(data) : (data as Json)) ===
        asked.count
      )
        break;
    }
  }
  return seen;
}

async function onAtomix(fl: Fairlead, store: string, asked: ScenarioOperation): Promise<Json> {
  const map = fl.map(store, { ...coding, ...("partitions" in asked && { partitions: asked.partitions }) });
  const entry = (found?: { value: string; version: bigint }) =>
    found ? { text: found.value, version: String(found.version) } : null;
  const over = "ifVersion" in asked ? { ifVersion: BigInt(asked.ifVersion ?? 0) } : {};
  switch (asked.call) {
    case "map.get":
      return entry(await map.get(asked.key));
    case "map.put":
      return String(await map.put(asked.key, asked.text, over));
    case "map.remove":
      return entry(await map.remove(asked.key, over));
    case "log.append": {
      const { firstOffset, lastOffset } = await fl.log("default", coding).append(asked.texts);
      return [firstOffset?.toString() ?? null, lastOffset?.toString() ?? null];
    }
    case "log.read": {
      const records: Json[] = [];
      for await (const { offset, value, timestamp } of fl
        .log("default", coding)
        .read({ from: BigInt(asked.from) })) {
        const told = { offset: String(offset), text: value, atMs: timestamp.getTime() };
        if (records.push(told) === asked.count) break;
      }
      return records;
    }
    default:
      throw new TypeError(`unknown operation ${asked.call}`);
  }
}

async function onOthers(fl: Fairlead, store: string, asked: ScenarioOperation): Promise<Json> {
  switch (asked.call) {
    case "sequencer.take": {
      const guarantee = asked.strong ? { guarantee: "strong" as const } : {};
      const ids: string[] = [];
      for await (const id of fl.sequencer(store).ids(asked.key, guarantee)) {
        if (ids.push(String(id)) === asked.count) break;
      }
      return ids;
    }
    case "secrets.get": {
      const secret = await fl.secrets(store).get(asked.name);
      return secret ? revealed(secret) : null;
    }
    case "secrets.getAll": {
      const all = await fl.secrets(store).getAll();
      return Object.fromEntries([...all].map(([name, secret]) => [name, revealed(secret)]));
    }
    case "bindings.invoke": {
      const { data, metadata } = await fl.bindings.invoke(store, asked.operation, asked.text);
      return { text: new TextDecoder().decode(data), metadata };
    }
    case "service.fetch": {
      const body = asked.text === undefined ? {} : { body: asked.text };
      const answer = await fl.service(store).fetch(asked.path, { method: asked.verb, ...body });
      return {
        status: answer.status,
        text: await answer.text(),
        contentType: answer.headers.get("content-type"),
      };
    }
    case "hello.say":
      return fl.hello(store).say(asked.to);
    case "lifecycle.apply":
      await fl.lifecycle.apply(asked.kind, store, asked.metadata);
      return null;
    default:
      throw new TypeError(`unknown operation ${asked.call}`);
  }
}

const revealed = (secret: Secret) =>
  Object.fromEntries(secret.parts.map((part) => [part, secret.reveal(part)]));
