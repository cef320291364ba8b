import { createClient, createState, isConflict } from "fairlead";
import { createGrpcWebTransport, createWebTransport } from "fairlead/web";

/** Calls the facades on the server at `url`; resolves with the results. */
export async function tryFacades(url) {
  const seen = {};
  const fl = createClient(url);
  const carts = fl.state();
  await carts.set("u1", { items: ["pear"] });
  await carts.update("u1", (cart) => ({ items: [...cart.items, "plum"] }));
  seen.state = (await carts.get("u1")).value.items.join();
  seen.conflict = await carts.set("u1", {}, { ifAbsent: true }).catch(isConflict);
  seen.lock = await fl.lock().withLock("order", async ({ fence }) => typeof fence);
  seen.id = typeof (await fl.sequencer().next("orders"));
  seen.map = (await fl.map("colors").put("sky", "blue")) !== undefined;
  seen.hello = await fl
    .hello()
    .say("Ada")
    .catch((error) => String(error));
  const transports = {
    grpcWeb: createGrpcWebTransport(url),
    json: createWebTransport(url, { json: true }),
    useHttpGet: createWebTransport(url, { useHttpGet: true }),
  };
  for (const [name, transport] of Object.entries(transports)) {
    seen[name] = (await createState(transport, "default").get("u1"))?.value.items.length;
  }
  await fl.close();
  return seen;
}
