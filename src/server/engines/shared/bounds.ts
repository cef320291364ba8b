/** A bound of an engine: its configuration, JSON Schema and documentation are derived from it. */
export interface Bound {
  /** Describes the limit in the configuration. */
  readonly description: string;
  /** Default: no bound. */
  readonly default?: number;
  /** Whether it is a number of milliseconds, which may have a fraction. Default: a whole number. */
  readonly isDuration?: boolean;
}

/** The values of `bounds` in `options`, with defaults. What has neither is infinite. */
export function withDefaults<B extends Readonly<Record<string, Bound>>>(
  bounds: B,
  options: { readonly [Name in keyof B]?: number | undefined },
): Record<keyof B, number> {
  const values = Object.entries(bounds).map(([name, bound]) => {
    return [name, options[name] ?? bound.default ?? Number.POSITIVE_INFINITY];
  });
  return Object.fromEntries(values) as Record<keyof B, number>;
}

export const MiB = 1024 ** 2;
export const GiB = 1024 ** 3;

/** The number of topics and groups, and how long groups without consumers are kept: the same for all engines. */
export const TOPIC_BOUNDS = {
  maxTopics: { default: 10_000, description: "The number of topics that have a group." },
  maxGroups: { default: 1000, description: "The number of groups of one topic." },
  groupIdleMs: {
    default: 24 * 3_600_000,
    isDuration: true,
    description:
      "How long a group without consumers and without waiting events is kept, in milliseconds. " +
      "Time during which the engine is closed does not count.",
  },
  groupBacklogIdleMs: {
    isDuration: true,
    description:
      "How long a group without consumers is kept while events wait for it, in milliseconds. " +
      "The events are then dropped. Time during which the engine is closed does not count. Default: for ever.",
  },
} as const satisfies Record<string, Bound>;
