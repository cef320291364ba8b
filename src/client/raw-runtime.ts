import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { Runtime as Bindings } from "../../gen/runtime/bindings/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as Configuration } from "../../gen/runtime/configuration/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as File } from "../../gen/runtime/file/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as Hello } from "../../gen/runtime/hello/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as Invocation } from "../../gen/runtime/invocation/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as Lock } from "../../gen/runtime/lock/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as Pubsub } from "../../gen/runtime/pubsub/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as Secrets } from "../../gen/runtime/secrets/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as Sequencer } from "../../gen/runtime/sequencer/spec/proto/runtime/v1/runtime_pb.js";
import { Runtime as State } from "../../gen/runtime/state/spec/proto/runtime/v1/runtime_pb.js";
import type { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";

/** The generated client of all of Runtime, out of the pieces that the facades use, so that no bundle has it twice. */
export function rawRuntime(transport: Transport): Client<typeof Runtime> {
  return {
    ...createClient(Bindings, transport),
    ...createClient(Configuration, transport),
    ...createClient(File, transport),
    ...createClient(Hello, transport),
    ...createClient(Invocation, transport),
    ...createClient(Lock, transport),
    ...createClient(Pubsub, transport),
    ...createClient(Secrets, transport),
    ...createClient(Sequencer, transport),
    ...createClient(State, transport),
  };
}
