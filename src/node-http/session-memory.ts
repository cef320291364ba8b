/**
 * Node's limit on the memory of one HTTP/2 connection in MB, above which it refuses all further calls on it: none here.
 * Node never subtracts the unsent bytes of canceled calls. With its default of 10, three canceled messages of 4 MiB
 * make the sender's connection useless. The flow-control windows, the limit on calls of a connection and the server's
 * limits bound the memory instead.
 */
export const UNLIMITED_SESSION_MB = 2 ** 32 - 1;
