import { Code } from "@connectrpc/connect";
import { createClient, isConflict } from "fairlead";
import { inProcess } from "fairlead/server";
import { createGrpcWebTransport, createWebTransport } from "fairlead/web";

/** The results of the page by name, for the test. */
export interface Told {
  [name: string]: unknown;
}

/** Every primitive with a server in the tab, without a network. */
async function here(): Promise<Told> {
  await using fl = createClient(
    inProcess({ config: { secrets: { default: { type: "values", values: { db: "s3cret" } } } } }),
  );
  const told: Told = {};
  await fl.state().set("k", { n: 1 });
  told["state"] = (await fl.state<{ n: number }>().get("k"))?.value.n;
  told["lock"] = await fl.lock().withLock("r", async ({ fence }) => typeof fence);
  told["sequencer"] = String(await fl.sequencer().next("ids"));
  await fl.files().put("a.txt", new Blob(["hello ", "blob"]));
  told["files"] = await (await fl.files().get("a.txt"))?.text();
  told["map"] = String(await fl.map<string>("seats").put("12A", "ada"));
  await fl.log<string>().append(["a", "b"]);
  const records: string[] = [];
  for await (const { value } of fl.log<string>().read({ follow: false })) records.push(value);
  told["log"] = records.join();
  await using presence = await fl.openGossipMap<string>("presence");
  presence.set("ada", "online");
  told["gossipMap"] = presence.get("ada");
  await fl.configuration().save({ theme: "dark" });
  await using config = await fl.configuration().open({ keys: ["theme"] });
  told["configuration"] = config.current["theme"];
  const events = fl.pubsub().subscribe<string>("orders")[Symbol.asyncIterator]();
  const first = events.next();
  const publishing = setInterval(() => void fl.pubsub().publish("orders", "pear"), 10);
  told["pubsub"] = (await first).value?.data;
  clearInterval(publishing);
  await events.return?.();
  told["secrets"] = (await fl.secrets().get("db"))?.reveal();
  told["bindings"] = (await fl.bindings.invoke("echo", "create", new Uint8Array([7]))).data[0];
  told["hello"] = await fl.hello().say("tab");
  return told;
}

/** A server of another origin, over fetch. */
async function there(url: string, protocol: "connect" | "grpc-web"): Promise<Told> {
  await using fl = createClient((protocol === "connect" ? createWebTransport : createGrpcWebTransport)(url));
  const told: Told = {};
  const state = fl.state<number>();
  const key = `page-${protocol}`;
  const etag = await state.set(key, 1);
  told["etag is exposed"] = etag !== undefined;
  await state.set(key, 2, { ifMatch: etag ?? "" });
  told["conflict"] = isConflict(
    await state.set(key, 3, { ifMatch: etag ?? "" }).catch((error: unknown) => error),
  );
  told["state"] = (await state.get(key))?.value;
  const held = await fl.lock().acquire(key);
  told["fence is exposed"] = typeof held.fence;
  await state.set(key, 4, { fence: held });
  await held.release();
  const records: string[] = [];
  for await (const { value } of fl.log<string>("seen").read({ follow: false })) records.push(value);
  told["log"] = records.join();
  told["files"] = await (await fl.files().get("seen.txt"))?.text();
  await fl.files().put("up.txt", "by the tunnel");
  told["upload"] = await (await fl.files().get("up.txt"))?.text();
  const gone = await createClient(createWebTransport("http://127.0.0.1:9"), { retry: false })
    .hello()
    .say("x")
    .catch((error: unknown) => error);
  told["unreachable"] = (gone as { code?: Code }).code === Code.Unavailable;
  return told;
}

/** The first calls of a page that depend on the extensions of the server, each in a new client. */
async function first(url: string): Promise<Told> {
  const told: Told = {};
  const of = () => createClient(createWebTransport(url));
  told["ifAbsent"] = typeof (await of().state().set("first", 1, { ifAbsent: true }));
  told["update"] = await of()
    .state<number>()
    .update("counted", (n = 0) => n + 1);
  told["put"] = typeof (await of().map("first").put("k", 1, { ifAbsent: true }));
  const held = await of().lock().acquire("first");
  told["fence"] = typeof (await of().state().set("fenced", 1, { fence: held }));
  await held.release();
  await of().files().put("first.txt", "x", { ifAbsent: true });
  await of().log("named").append(["a"]);
  for await (const { value } of of().log("named").read({ follow: false })) told["log"] = value;
  await using config = await of().configuration().open();
  told["configuration"] = typeof config.current;
  return told;
}

/** Reads a log into the page's global `followed`. */
function follow(url: string, prefer: "fetch" | "tunnel"): void {
  const followed: unknown[] = [];
  Object.assign(globalThis, { followed });
  const fl = createClient(createWebTransport(url, { prefer }));
  void (async () => {
    for await (const { value } of fl.log().read()) followed.push(value);
  })().catch((error: unknown) => followed.push(String(error)));
  void (async () => {
    for await (const _ of fl.raw.log.consume({ offset: 1n }));
  })().catch((error: { code?: Code }) => Object.assign(globalThis, { rawCode: error.code }));
}

Object.assign(globalThis, { here, there, first, follow });
