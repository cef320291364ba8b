/**
 * `fairlead/server/node`: the reference server on a port of this machine.
 *
 * @module
 */
export type { Pages } from "../node-http/page.js";
export { type Listening, type ListenOptions, listen, nodePlatform, type TlsOptions } from "./http/listen.js";
