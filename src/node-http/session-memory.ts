/**
 * What Node lets one HTTP/2 connection hold, in MB, before it refuses every further call on it. Node counts what was
 * still to be sent of a call that is given up as held for ever: with its own 10, three messages of 4 MiB that were not
 * waited for end a connection, on the side that sent them. So there is no such bound here. What is held is bounded by the
 * windows, by the calls of a connection and by the server's limits.
 */
export const NO_BOUND_MB = 2 ** 32 - 1;
