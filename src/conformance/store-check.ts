import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { type ConfiguredStore, PRIMITIVES, type Primitive } from "../server/primitives.js";
import { CONFORMANCE_STORES } from "./components.js";
import { DEFAULT_STORES, type Stores } from "./stores.js";

/** Finds out which stores a server has: those of withConformance(), otherwise the default ones. */
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

/** Primitives whose stores are also used by cases of others, for fences. */
const OTHER_USERS: Partial<Record<Primitive, Primitive[]>> = { state: ["lock"], lock: ["map"] };

/** The messages with which this server and the Go runtime refuse an unknown component. */
const UNKNOWN_COMPONENT =
  /is not configured|not found|not (find|init|support)|don't support|no instance found|couldn't find|not support/i;

/** A key that no case writes. */
const key = "conformance-probe";

type Probed = ConfiguredStore | "hello" | "secrets";

type Probe = (runtime: Client<typeof Runtime>, name: string, stores: Stores) => Promise<unknown>;

/** A call for each primitive that names a store and changes nothing, but uses up an id of a sequence. */
const PROBES: Readonly<Record<Probed, Probe>> = {
  state: (runtime, storeName) => runtime.getState({ storeName, key }),
  lock: (runtime, storeName) => runtime.unlock({ storeName, resourceId: key, lockOwner: key }),
  sequencer: (runtime, storeName) => runtime.getNextId({ storeName, key }),
  // Publishes nothing: the server refuses an invalid CloudEvent after it has found the pubsub.
  pubsub: (runtime, pubsubName) =>
    runtime.publishEvent({ pubsubName, topic: key, dataContentType: "application/cloudevents+json" }),
  files: (runtime, storeName) => runtime.listFile({ request: { storeName, name: key } }),
  configuration: (runtime, storeName) => runtime.getConfiguration({ storeName, appId: key, keys: [key] }),
  hello: (runtime, serviceName) => runtime.sayHello({ serviceName }),
  secrets: (runtime, storeName, { secret }) => runtime.getSecret({ storeName, key: secret?.key ?? "" }),
};

/** The names of a primitive's stores that cases use. */
function namesOf(primitive: Probed, { hello, secret, quickPubsub, others, ...stores }: Stores): string[] {
  if (primitive === "hello") return [hello.name];
  if (primitive === "secrets") return secret ? [secret.store] : [];
  const second: Partial<Record<Probed, string | undefined>> = { ...others, pubsub: quickPubsub?.name };
  return [stores[primitive], second[primitive]].filter((name) => name !== undefined);
}

/**
 * The stores among `stores` that the server does not have, each as "state store \"x\"". Probes only stores that cases
 * of `primitives` use.
 *
 */
export async function missingStores(
  transport: Transport,
  stores: Stores,
  primitives: ReadonlySet<Primitive>,
): Promise<string[]> {
  const runtime = createClient(Runtime, transport);
  const missing: string[] = [];
  for (const [primitive, probe] of Object.entries(PROBES) as [Probed, Probe][]) {
    const users = [primitive, ...(OTHER_USERS[primitive] ?? [])];
    if (!users.some((user) => primitives.has(user))) continue;
    for (const name of namesOf(primitive, stores)) {
      if (!(await isMissing(() => probe(runtime, name, stores), name))) continue;
      missing.push(`${PRIMITIVES[primitive].componentLabel} ${JSON.stringify(name)}`);
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
    // A missing entry, such as a secret, is not a missing store.
    if (code === Code.NotFound) return false;
    const isAbout =
      code === Code.FailedPrecondition || rawMessage.includes(name) || /no instance found/.test(rawMessage);
    return isAbout && UNKNOWN_COMPONENT.test(rawMessage);
  }
}
