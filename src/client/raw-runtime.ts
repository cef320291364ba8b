import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { Runtime as Bindings } from "../../gen/runtime/bindings_pb.js";
import { Runtime as Configuration } from "../../gen/runtime/configuration_pb.js";
import { Runtime as Files } from "../../gen/runtime/files_pb.js";
import { Runtime as Hello } from "../../gen/runtime/hello_pb.js";
import { Runtime as Lock } from "../../gen/runtime/lock_pb.js";
import { Runtime as Pubsub } from "../../gen/runtime/pubsub_pb.js";
import { Runtime as Secrets } from "../../gen/runtime/secrets_pb.js";
import { Runtime as Sequencer } from "../../gen/runtime/sequencer_pb.js";
import { Runtime as Service } from "../../gen/runtime/service_pb.js";
import { Runtime as State } from "../../gen/runtime/state_pb.js";
import type { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";

/**
 * The client of the whole Runtime service, made from the parts that the facades use: no bundle has a descriptor twice.
 */
export function rawRuntime(transport: Transport): Client<typeof Runtime> {
  return {
    ...createClient(Bindings, transport),
    ...createClient(Configuration, transport),
    ...createClient(Files, transport),
    ...createClient(Hello, transport),
    ...createClient(Service, transport),
    ...createClient(Lock, transport),
    ...createClient(Pubsub, transport),
    ...createClient(Secrets, transport),
    ...createClient(Sequencer, transport),
    ...createClient(State, transport),
  };
}
