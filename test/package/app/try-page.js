import { tryFacades } from "./try-facades.js";

// The test sets `serverUrl` and reads `seen`.
globalThis.seen = tryFacades(globalThis.serverUrl);
