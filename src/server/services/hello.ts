import type { ServiceImpl } from "@connectrpc/connect";
import type { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { ServiceContext } from "../context.js";

/** SayHello: a greeting, by which a client can check that it is connected, and to which server. */
export function helloService({ components }: ServiceContext): Pick<ServiceImpl<typeof Runtime>, "sayHello"> {
  return {
    sayHello({ serviceName, name, data }) {
      const { greeting } = components.get("hello", serviceName);
      return { hello: name === "" ? greeting : `${greeting}, ${name}`, ...(data && { data }) };
    },
  };
}
