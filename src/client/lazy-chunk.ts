/**
 * The half of the client that is loaded with the first call that needs it, all in one request. One module for all of
 * it, because bundlers put what several of them share into a file of its own for each combination: with a module for
 * each, a page would begin with sixteen files that together are larger than what it saves.
 *
 * @module
 */

export { jsonWith, sendAnyInJson } from "../rpc/any-in-json.js";
export { envelopesFit } from "../rpc/envelopes.js";
export { foreignError, lostConnection } from "../rpc/lost-connection.js";
export { withStreamWatchdog } from "../rpc/stream-watchdog.js";
export { withBearerToken } from "../rpc/with-bearer-token.js";
export { createTunnelTransport } from "../transport/tunnel.js";
export { bindingCalls } from "./bindings/calls.js";
export { closeWithClient } from "./close-with-client.js";
export { conditionHeaders } from "./condition-headers.js";
export { configurationStore } from "./configuration/store.js";
export { retryDelayMs } from "./errors/facts.js";
export { deleteFile, listFiles, statFile } from "./files/list.js";
export { getFile, putFile } from "./files/transfer.js";
export { joinGossipMap } from "./gossip-map/replica-map.js";
export { lifecycleControl } from "./lifecycle/control.js";
export { lockStore } from "./lock/acquire.js";
export { appendRecords, readRecords } from "./log/records.js";
export { versionedMap } from "./map/versioned-map.js";
export { createCallbacks } from "./pubsub/app-callback.js";
export { subscription } from "./pubsub/subscription.js";
export { secretStore } from "./secrets/store.js";
export { idBlocks } from "./sequencer/id-blocks.js";
export { createInvocations } from "./service/handler.js";
export { serviceInvoker } from "./service/invoke.js";
export { createOnly } from "./state/create-only.js";
export { getManyEntries, transact, updateEntry } from "./state/operations.js";
