import type { ConfigInput } from "fairlead/server";

/** The configuration that the suite needs. `greetings`: the hello instances that it may change. */
export function serverConfig(mirror: string, greetings: string[]): ConfigInput {
  return {
    hello: Object.fromEntries(["helloworld", ...greetings].map((name) => [name, {}])),
    pubsub: { default: { maxDeliveries: 3, retryMinMs: 5, retryMaxMs: 10 } },
    secrets: { default: { type: "values", values: { db: "s3cret" } } },
    bindings: { echo: { type: "echo" }, mirror: { type: "http", url: mirror } },
    services: { mirror: { url: mirror } },
  };
}
