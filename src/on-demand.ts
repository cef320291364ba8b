/**
 * The half of the client that is loaded with the first call that needs it, all in one request. One module for all of
 * it, because bundlers put what several of them share into a file of its own for each combination: with a module for
 * each, a page would begin with sixteen files that together are larger than what it saves.
 *
 * @module
 */
export { createCallbacks } from "./callbacks.js";
export { joinGossipMap } from "./gossip/map.js";
export { jsonWith, sendAnyInJson } from "./internal/any-in-json.js";
export { bindingCalls } from "./internal/binding-calls.js";
export { closingWith } from "./internal/closing-with.js";
export { conditionHeaders } from "./internal/condition-headers.js";
export { configurationStore } from "./internal/configuration-store.js";
export { createOnly } from "./internal/create-only.js";
export { envelopesFit } from "./internal/envelopes.js";
export { retryDelayMs } from "./internal/error-facts.js";
export { deleteFile, listFiles, statFile } from "./internal/file-listing.js";
export { getFile, putFile } from "./internal/file-transfer.js";
export { idBlocks } from "./internal/id-blocks.js";
export { invoking } from "./internal/invoke.js";
export { lifecycleControl } from "./internal/lifecycle-control.js";
export { locking } from "./internal/locking.js";
export { appendRecords, readRecords } from "./internal/log-records.js";
export { foreignError, lostConnection } from "./internal/lost-connection.js";
export { secretStore } from "./internal/secret-store.js";
export { getManyEntries, transact, updateEntry } from "./internal/state-operations.js";
export { watched } from "./internal/stream-watchdog.js";
export { subscription } from "./internal/subscription.js";
export { withToken } from "./internal/token.js";
export { versionedMap } from "./internal/versioned-map.js";
export { createInvocations } from "./invocations.js";
export { createTunnelTransport } from "./transport/tunnel.js";
