import { mirrored } from "../../src/conformance/mirror.js";
import type { Stores } from "../../src/conformance/stores.js";
import type { ConfigInput } from "../../src/server/index.js";
import { type HttpApp, httpApp } from "../http-app.js";

/** What the servers of the conformance suite are called and have. */
export const STORES: Partial<Stores> = {
  others: { state: "other", lock: "other", sequencer: "other", configuration: "other" },
  quickPubsub: { name: "quick", maxDeliveries: 4, retryMinMs: 10, retryMaxMs: 25 },
  shortLog: { name: "conformance-short", maxRecords: 3 },
  biggerThan: { key: "conformance-floor", value: "9007199254740993" },
  spareHello: { name: "spare", greeting: "Hi" },
  secret: { store: "vault", key: "db", value: "not for every eye" },
  mirror: { service: "mirror", binding: "mirror" },
  backupGroup: { namespace: "conformance", name: "backup", primary: "http://127.0.0.1:9" },
  ledGroup: { namespace: "conformance", name: "led", term: 2 },
};

/** The configuration that STORES describes, with the mirror at `url`. */
export function conformanceConfig(url: string): ConfigInput {
  const two = { default: {}, other: {} };
  return {
    state: two,
    lock: two,
    sequencer: { default: { biggerThan: { "conformance-floor": "9007199254740993" } }, other: {} },
    configuration: two,
    pubsub: { default: {}, quick: { maxDeliveries: 4, retryMinMs: 10, retryMaxMs: 25 } },
    logs: { "conformance-short": { maxRecords: 3 } },
    hello: { helloworld: {}, spare: { greeting: "Hi" } },
    secrets: { vault: { type: "values", values: { db: "not for every eye", "api:key": "another" } } },
    bindings: { echo: { type: "echo" }, mirror: { type: "http", url } },
    services: { mirror: { url } },
    maps: { "conformance/backup": { primary: "http://127.0.0.1:9" }, "conformance/led": { term: 2 } },
  };
}

/** The app that the suite's service and binding lead to. */
export const openMirror = (): Promise<HttpApp> =>
  httpApp(({ headers, ...asked }, response) => {
    const plain = Object.entries(headers).map(([name, value]) => [name, String(value)]);
    const answer = mirrored({ ...asked, headers: Object.fromEntries(plain) });
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
