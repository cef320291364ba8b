import { createClient, text } from "fairlead";
import { createWebTransport } from "fairlead/web";

/** A page that makes every kind of call that needs the tunnel, and keeps the results for the test. */

/** The intermediate results of a page. */
const noted: unknown[] = [];

async function streams(url: string): Promise<Record<string, unknown>> {
  await using fl = createClient(createWebTransport(url));
  const told: Record<string, unknown> = {};
  await fl.files().put("page.txt", new Blob(["from ", "a page"]));
  told["PutFile"] = await (await fl.files().get("page.txt"))?.text();
  const { firstOffset, lastOffset } = await fl.log<string>("page").append(["a", "b"]);
  told["Produce"] = `${firstOffset}-${lastOffset}`;
  await fl.configuration().save({ theme: "light" });
  await using config = await fl.configuration().open({ keys: ["theme"] });
  const changed = (async () => {
    for await (const { value } of config.changes()) return value;
    return undefined;
  })();
  await fl.configuration().save({ theme: "dark" });
  told["SubscribeConfiguration"] = await changed;
  let open = () => {};
  const isOpen = new Promise<void>((resolve) => {
    open = resolve;
  });
  const first = (async () => {
    for await (const { data } of fl.pubsub().subscribe<string>("page", { group: "page", onOpen: open }))
      return data;
    return undefined;
  })();
  await isOpen;
  await fl.pubsub().publish("page", "pear");
  told["SubscribeTopicEvents"] = await first;
  await using presence = await fl.openGossipMap<string>("page");
  presence.set("ada", "online");
  await using other = await fl.openGossipMap<string>("page");
  while (other.get("ada") !== "online") await new Promise((resolve) => setTimeout(resolve, 5));
  told["Connect"] = other.get("ada");
  told["Backup"] = await backup(fl);
  return told;
}

/** Sends two batches to the backup of a map, the second after the response to the first. Returns both statuses. */
async function backup(fl: ReturnType<typeof createClient>): Promise<string> {
  const statuses: unknown[] = [];
  let answered = () => {};
  const batches = (async function* () {
    const named = { namespace: "", name: "default" };
    for (let i = 0; i < 2; i++) {
      yield { header: { protocol: named, primitive: named, partition: 1 } };
      await new Promise<void>((resolve) => {
        answered = resolve;
      });
    }
  })();
  for await (const { header } of fl.raw.map.backup(batches)) {
    statuses.push(header?.status);
    answered();
  }
  return statuses.join();
}

/** AppCallback and InvokeService in a tab. */
async function serve(url: string): Promise<void> {
  const fl = createClient(createWebTransport(url, { appId: "tab" }));
  await fl.pubsub.serve<{ orders: unknown }>({ orders: ({ data }) => void noted.push(data) });
  await fl.service.serve(async (request) => new Response(`${request.method} ${await request.text()}`));
}

/** Uploads a Blob of `megabytes` from the disk, and records the progress. */
async function upload(url: string, megabytes: number): Promise<{ progress: number[]; size: number }> {
  await using fl = createClient(createWebTransport(url));
  const part = new Blob([new Uint8Array(1024 * 1024)]);
  const blob = new Blob(Array.from({ length: megabytes }, () => part));
  const progress: number[] = [];
  await fl.files().put("large", blob, { onProgress: ({ sentBytes }) => void progress.push(sentBytes) });
  return { progress, size: blob.size };
}

/** Reads a log until the page is closed, and records the entries. */
async function follow(url: string): Promise<void> {
  const fl = createClient(createWebTransport(url, { prefer: "tunnel" }));
  for await (const { value } of fl.log("cut", { codec: text() }).read({ from: 0n })) noted.push(value);
}

/** One WebSocket for all pages of the origin. */
async function shared(url: string, key: string): Promise<unknown> {
  await using fl = createClient(
    createWebTransport(url, {
      prefer: "tunnel",
      sharedWorker: () => new SharedWorker("/worker.js", { type: "module" }),
    }),
  );
  const count = ((await fl.state<number>().get(key))?.value ?? 0) + 1;
  await fl.state<number>().set(key, count);
  await fl.files().put(key, "x".repeat(200_000));
  return count;
}

Object.assign(globalThis, { tunnel: { streams, serve, upload, follow, shared, noted: () => noted } });
