import type { CallOptions, Transport } from "@connectrpc/connect";
import { Runtime } from "../gen/runtime/hello/spec/proto/runtime/v1/runtime_pb.js";
import { callsOf } from "./internal/calls.js";

/** A greeting: the smallest call there is, to see that a server answers. */
export interface Hello {
  /** What the server says to `name`: "Hello, Ada". `SayHello` */
  say(name?: string, options?: CallOptions): Promise<string>;
}

/** The greeting that the server calls `instance`. */
export function createHello(transport: Transport, instance = "helloworld"): Hello {
  const client = callsOf(Runtime, transport);
  return {
    async say(name = "", call) {
      const { hello } = await client.sayHello({ serviceName: instance, name }, call);
      return hello;
    },
  };
}
