import { z } from "zod";

/** `hosts` in the configuration: the names that a server answers to. */
export const hostsSettings = z
  .array(
    z
      .string()
      .regex(
        /^(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$|^\[[0-9a-f:.]+\]$/,
        'must be a host name in lower case without a port, like "app.example" or "*.app.example", or an IP address',
      ),
  )
  .min(1, "must have at least one")
  .optional()
  .describe(
    "The names, without ports, that the server answers to beside those of this machine: " +
      '"app.example", "*.app.example". Default: no others while it listens on loopback, any otherwise.',
  );
