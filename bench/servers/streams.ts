/** The streams that the bench `http` measures: logs of the whole server, and the same by bare node:http2. */
export const STREAMS = {
  small: { count: 2000, bytes: 16 },
  large: { count: 100, bytes: 64 * 1024 },
} as const;
