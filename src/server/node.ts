/**
 * `fairlead/server/node`: the reference server on a port of this machine.
 *
 * @module
 */
export type { Pages } from "../internal/node/page.js";
export { type Listening, type ListenOptions, listen, nodePlatform, type TlsOptions } from "./listen.js";
