/**
 * Node's limit on the memory of one HTTP/2 connection, in MB, above which it refuses all further calls on it: none. Node
 * never subtracts the unsent bytes of canceled calls: with its default of 10, three canceled messages of 4 MiB make the
 * sender's connection useless. Memory is bounded by the flow-control windows, the calls of a connection and the server's
 * limits.
 */
export const UNLIMITED_SESSION_MB = 2 ** 32 - 1;
