import { z } from "zod";

/** The names that a server answers to, as `hosts` in the configuration has them. */
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
    'The names, without ports, that the server answers to beside those of this machine: "app.example", "*.app.example". ' +
      "Left out: only those of this machine while it listens on loopback, else any.",
  );
