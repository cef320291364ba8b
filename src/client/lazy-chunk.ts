/**
 * The part of the client that is loaded by the first call that needs it, in one request: see lazy.ts. It is one module,
 * because bundlers make a file of the code that each combination of modules shares. With one module for each facade, a
 * page would start with sixteen files, which together are larger than the savings.
 *
 * @module
 */

// biome-ignore-start assist/source/organizeImports: the order decides how well the first file of a page compresses
export { loadGossipMap, loadPresence } from "./gossip-map/load.js";
// biome-ignore-end assist/source/organizeImports: as above
export { envelopesFit } from "../rpc/envelopes.js";
export { foreignError, lostConnection } from "../rpc/lost-connection.js";
export { withStreamWatchdog } from "../rpc/stream-watchdog.js";
export { withBearerToken } from "../rpc/with-bearer-token.js";
export { openFetch } from "../transport/failover/fetch.js";
export { openTunnel } from "../transport/tunnel/failover.js";
export { bindingCalls } from "./bindings/calls.js";
export { closeWithClient, serveRoutes } from "./close-with-client.js";
export { conditionHeaders } from "./condition-headers.js";
export { configurationStore } from "./configuration/store.js";
export { retryWaitMs } from "./errors/facts.js";
export { listFiles } from "./files/list.js";
export { fileOperations } from "./files/store.js";
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
export { multipleOperations } from "./state/multiple.js";
