import { type ConfigInput, parseConfig } from "../server/index.js";
import { CONFIGURED_STORES } from "../server/primitives.js";
import { type Stores, storesNamed, WITH_TWO_STORES } from "./stores.js";

/** The suite's own components. It does not use others. */
const NAME = "conformance";
const OTHER = "conformance-other";
const QUICK = { maxDeliveries: 4, retryMinMs: 10, retryMaxMs: 25 };
const FLOOR = { key: "conformance-floor", value: "9007199254740993" };
const SECRET = { key: "db", value: "not for every eye" };
const ELSEWHERE = "http://127.0.0.1:9";

/** The stores of a server that was configured by withConformance(). */
export const CONFORMANCE_STORES: Stores = {
  ...storesNamed(CONFIGURED_STORES, NAME),
  hello: { name: NAME, greeting: "Hello" },
  spareHello: { name: "conformance-spare", greeting: "Hi" },
  others: storesNamed(WITH_TWO_STORES, OTHER),
  quickPubsub: { name: "conformance-quick", ...QUICK },
  biggerThan: FLOOR,
  echo: "conformance-echo",
  mirror: { service: "conformance-mirror", binding: "conformance-mirror" },
  secret: { store: NAME, ...SECRET },
  backupGroup: { namespace: NAME, name: "backup", primary: ELSEWHERE },
  ledGroup: { namespace: NAME, name: "led", term: 2 },
  shortLog: { name: "conformance-short", maxRecords: 3 },
};

/**
 * Adds the components that the suite needs to `config`, under names that begin with "conformance". `mirrorUrl`: the URL
 * of an app that answers as mirrorResponse() does. Not for production: everyone can read the suite's secret and change
 * its greeting.
 *
 */
export function withConformance(config: ConfigInput, mirrorUrl: string): ConfigInput {
  const suite = {
    ...Object.fromEntries(CONFIGURED_STORES.map((primitive) => [primitive, { [NAME]: {} }])),
    ...Object.fromEntries(WITH_TWO_STORES.map((primitive) => [primitive, { [NAME]: {}, [OTHER]: {} }])),
    sequencer: { [NAME]: { biggerThan: { [FLOOR.key]: FLOOR.value } }, [OTHER]: {} },
    pubsub: { [NAME]: {}, "conformance-quick": QUICK },
    hello: { [NAME]: {}, "conformance-spare": { greeting: "Hi" } },
    logs: { "conformance-short": { maxRecords: 3 } },
    secrets: { [NAME]: { type: "values", values: { [SECRET.key]: SECRET.value, "api:key": "another" } } },
    bindings: {
      "conformance-echo": { type: "echo" },
      "conformance-mirror": { type: "http", url: mirrorUrl },
    },
    services: { "conformance-mirror": { url: mirrorUrl } },
    maps: { "conformance/backup": { primary: ELSEWHERE }, "conformance/led": { term: 2 } },
  } satisfies ConfigInput;
  const defaults: ConfigInput = parseConfig();
  const kinds = Object.entries(suite).map(([kind, components]) => {
    const own = config[kind as keyof typeof suite] ?? defaults[kind as keyof typeof suite];
    return [kind, { ...own, ...components }];
  });
  return { ...config, ...Object.fromEntries(kinds) };
}
