import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Primitive } from "./case.js";
import { CONFORMANCE_STORES } from "./components.js";
import { DEFAULT_STORES, type Stores } from "./stores.js";

/** What the server behind `transport` calls its stores, where nobody says: the suite's own, or the default ones. */
export async function storesOf(transport: Transport): Promise<Stores> {
  const { sayHello } = createClient(Runtime, transport);
  try {
    await sayHello({ serviceName: CONFORMANCE_STORES.hello.name });
    return CONFORMANCE_STORES;
  } catch (reason) {
    if (ConnectError.from(reason).code === Code.Unavailable) throw reason;
    return DEFAULT_STORES;
  }
}

/** The primitives some of whose cases need the stores of another one: for fences. */
const ALSO_USED_BY: Partial<Record<Primitive, Primitive[]>> = { state: ["lock"], lock: ["map"] };

/** How a server says that it has no component of a name: ours, and the Go runtime. */
const NOT_THERE =
  /is not configured|not found|not (find|init|support)|don't support|no instance found|couldn't find|not support/i;

/**
 * The stores among `stores` that the server does not have, each as "state store \"x\"". Asks only for what cases of
 * `primitives` use, and changes nothing but to use up an id of a sequence.
 */
export async function missingStores(
  transport: Transport,
  stores: Stores,
  primitives: ReadonlySet<Primitive>,
): Promise<string[]> {
  const runtime = createClient(Runtime, transport);
  const key = "conformance-probe";
  const { others } = stores;
  const named = (name: string | undefined, ask: (storeName: string) => Promise<unknown>) =>
    name === undefined ? [] : [{ name, ask }];
  const state = (storeName: string) => runtime.getState({ storeName, key });
  const lock = (storeName: string) => runtime.unlock({ storeName, resourceId: key, lockOwner: key });
  const sequencer = (storeName: string) => runtime.getNextId({ storeName, key });
  const configuration = (storeName: string) =>
    runtime.getConfiguration({ storeName, appId: key, keys: [key] });
  // Not an event: what is no CloudEvent is refused, once the pubsub is found.
  const pubsub = (pubsubName: string) =>
    runtime.publishEvent({ pubsubName, topic: key, dataContentType: "application/cloudevents+json" });
  const probes: [Primitive, string, { name: string; ask(name: string): Promise<unknown> }[]][] = [
    ["state", "state store", [...named(stores.state, state), ...named(others?.state, state)]],
    ["lock", "lock store", [...named(stores.lock, lock), ...named(others?.lock, lock)]],
    [
      "sequencer",
      "sequencer store",
      [...named(stores.sequencer, sequencer), ...named(others?.sequencer, sequencer)],
    ],
    ["pubsub", "pubsub", [...named(stores.pubsub, pubsub), ...named(stores.quickPubsub?.name, pubsub)]],
    [
      "file",
      "file store",
      named(stores.files, (storeName) => runtime.listFile({ request: { storeName, name: key } })),
    ],
    [
      "configuration",
      "configuration store",
      [...named(stores.configuration, configuration), ...named(others?.configuration, configuration)],
    ],
    ["hello", "hello", named(stores.hello.name, (serviceName) => runtime.sayHello({ serviceName }))],
    [
      "secrets",
      "secret store",
      named(stores.secret?.store, (storeName) =>
        runtime.getSecret({ storeName, key: stores.secret?.key ?? "" }),
      ),
    ],
  ];
  const missing: string[] = [];
  for (const [primitive, kind, all] of probes) {
    const users = [primitive, ...(ALSO_USED_BY[primitive] ?? [])];
    if (!users.some((user) => primitives.has(user))) continue;
    for (const { name, ask } of all) {
      if (await isMissing(() => ask(name), name)) missing.push(`${kind} ${JSON.stringify(name)}`);
    }
  }
  return missing;
}

async function isMissing(ask: () => Promise<unknown>, name: string): Promise<boolean> {
  try {
    await ask();
    return false;
  } catch (reason) {
    const { code, rawMessage } = ConnectError.from(reason);
    if (code === Code.Unavailable) throw reason;
    // An entry that is not there, as a secret, is not the store.
    if (code === Code.NotFound) return false;
    const isAbout =
      code === Code.FailedPrecondition || rawMessage.includes(name) || /no instance found/.test(rawMessage);
    return isAbout && NOT_THERE.test(rawMessage);
  }
}
