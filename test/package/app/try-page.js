import { tryFacades } from "./try-facades.js";

// Who loads the page says where the server is, and reads what it saw.
globalThis.seen = tryFacades(globalThis.serverUrl);
