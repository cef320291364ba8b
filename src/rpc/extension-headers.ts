// Every header and trailer that Fairlead adds to the APIs of Layotto and Atomix. Other servers and clients ignore them.

export { ETAG_HEADER, SERVER_HEADER } from "./extension-headers/page.js";

/**
 * Response header with the id of the call, which is also in each log line of the server about the call.
 *
 * Format: the caller's `x-request-id`, else an id of the server.
 */
export const REQUEST_ID_HEADER = "fairlead-request-id";

/**
 * Request header of a call whose answer is a stream: asks for an empty message whenever nothing was sent for that long.
 * The server confirms it by a response header of the same name with the interval that it uses.
 *
 * Format: milliseconds, "2500".
 */
export const HEARTBEAT_HEADER = "fairlead-heartbeat-ms";

/**
 * Request header of a write that only the holder of a lock may do. Response header of TryLock and LockKeepAlive with
 * the number of the grant.
 *
 * Format of the request: `<store>/<resource>=<number>`, store and resource percent-encoded; several with commas. Format
 * of the response: a number.
 */
export const FENCE_HEADER = "fairlead-fence";

/**
 * Request header of the map's Put: fail with `aborted` if the key has an entry.
 *
 * Format: "true" or "false", which is the default.
 */
export const IF_ABSENT_HEADER = "fairlead-if-absent";

/**
 * Request header of the map's Backup, between servers that elect the primary: the id of the copy that is meant.
 *
 * Format: hex digits.
 */
export const MAP_COPY_HEADER = "fairlead-map-copy";

/**
 * Request header of the gossip map's Connect, between servers: the id of the calling server as a member. The stream does
 * not keep the maps open for which the called server would dial others.
 *
 * Format: a name, percent-encoded.
 */
export const GOSSIP_PEER_HEADER = "fairlead-gossip-peer";

/**
 * Response header of GetNextId: how many ids the call reserved. Without it the server gave one id.
 *
 * Format: a number.
 */
export const ID_COUNT_HEADER = "fairlead-id-count";

/**
 * Request header of SubscribeConfiguration: answer at once even if no item exists yet.
 *
 * Format: "true".
 */
export const INITIAL_HEADER = "fairlead-initial";

/**
 * Request header of SubscribeTopicEvents: the app id of the caller, which is the consumer group if the request names
 * none.
 *
 * Format: a name.
 */
export const APP_ID_HEADER = "fairlead-app-id";

/**
 * Response header of GetFile and PutFile: the description of the file.
 *
 * Format: a serialized GetFileMetaResponse, base64.
 */
export const FILE_HEADER = "fairlead-file-bin";

/**
 * Response header of GetFile: the range of bytes in the answer. Without it the answer is the whole file.
 *
 * Format: `<first>-<last>/<size>`, with "*" as the range if it has no bytes.
 */
export const RANGE_HEADER = "fairlead-range";

/**
 * Request header of the log's calls: which log. Default: the log "default".
 *
 * Format: a name, percent-encoded.
 */
export const LOG_HEADER = "fairlead-log";

/**
 * Request header of the log's Consume: whether to wait for further records at the end of the log.
 *
 * Format: "true", which is the default, or "false".
 */
export const FOLLOW_HEADER = "fairlead-follow";

/**
 * Request header of the log's Consume: start at the first record of that time or later.
 *
 * Format: Unix milliseconds.
 */
export const FROM_TIME_HEADER = "fairlead-from-time";

/**
 * Response trailers of the log's Produce: the offsets of the first and the last record that were appended.
 *
 * Format: a number.
 */
export const FIRST_OFFSET_TRAILER = "fairlead-first-offset";
export const LAST_OFFSET_TRAILER = "fairlead-last-offset";

/**
 * Prefix of the headers that InvokeService carries for an app, in both directions; see invocation-headers.ts.
 *
 * Format: as HTTP has it for the header without the prefix.
 */
export const HTTP_PREFIX = "fairlead-http-";

/**
 * Response header of InvokeService: the HTTP status of the app's answer.
 *
 * Format: a number, "404".
 */
export const HTTP_STATUS_HEADER = `${HTTP_PREFIX}status`;

/**
 * Response header of a server that closes, with status 503: it has not processed the request, so that the client may
 * send it to another server.
 *
 * Format: "true".
 */
export const UNPROCESSED_HEADER = "fairlead-unprocessed";

/**
 * Header within a client: Http2Sessions finds the signal and context of a call by it. It is removed before the call is
 * sent.
 *
 * Format: a number.
 */
export const TICKET_HEADER = "fairlead-ticket";
