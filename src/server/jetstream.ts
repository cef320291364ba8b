/**
 * `fairlead/server/jetstream`: the engine that any number of servers share, in a NATS JetStream cluster. It needs the
 * packages of the NATS client: `npm install @nats-io/transport-node@3 @nats-io/jetstream@3`.
 *
 * @module
 */
export { type JetStreamEngineOptions, openJetStreamEngine } from "./engines/jetstream/engine.js";
export { ClusterError } from "./engines/jetstream/errors.js";
