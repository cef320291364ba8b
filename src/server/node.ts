/**
 * `fairlead/server/node`: the reference server on a port of this machine.
 *
 * @module
 */

export type { Pages } from "./http/listen/custom-pages.js";
export { type Listening, type ListenOptions, listen, type TlsOptions } from "./http/listen.js";
export { nodePlatform } from "./node-platform.js";
