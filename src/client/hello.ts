import type { CallOptions, Transport } from "@connectrpc/connect";
import { Runtime } from "../../gen/runtime/hello_pb.js";
import { checkedName, checkOptions } from "../lib/checks.js";
import { generatedClient } from "./generated-client.js";

/** A greeting: the smallest call there is, to check that a server answers. */
export interface Hello {
  /** The greeting of the server for `name`: "Hello, Ada". `SayHello` */
  say(name?: string, options?: CallOptions): Promise<string>;
}

/**
 * The greeting that the server calls `instance`.
 *
 * @example
 * ```ts
 * import { createHello } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 *
 * const hello = createHello(createWebTransport("http://localhost:34904"));
 * console.log(await hello.say("Ada")); // Hello, Ada
 * ```
 */
export function createHello(transport: Transport, instance = "helloworld"): Hello {
  const client = generatedClient(Runtime, transport);
  const serviceName = checkedName("the greeting", instance);
  return {
    async say(name = "", call = {}) {
      if (name !== "") checkedName("Cannot say hello: the name", name);
      checkOptions("Cannot say hello", call);
      const { hello } = await client.sayHello({ serviceName, name }, call);
      return hello;
    },
  };
}
