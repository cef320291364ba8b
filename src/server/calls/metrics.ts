import type { Counter } from "../context.js";
import type { Call, CallObserver } from "./observe.js";

/** Counts calls, for Prometheus. */
export interface Metrics extends CallObserver {
  /** Everything counted so far, in Prometheus' text format. `memory` has bytes by the names of their metrics. */
  text(memory: Readonly<Record<string, number>>): string;
  /** Adds to a counter of a service. */
  count(counter: Counter, by: number): void;
}

/** The page for Prometheus at `/metrics`, as an HTTP response. */
export interface MetricsPage {
  /** 200, or 401 if the request may not read it. */
  status: number;
  /** The media type and the cache control. */
  headers: Record<string, string>;
  /** The text of the page. */
  body: string;
}

/** The page with `text`; without it, the refusal of a request that may not read it. */
export function metricsPage(text: string | undefined): MetricsPage {
  const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" };
  if (text !== undefined) return { status: 200, headers, body: text };
  const body = "a bearer token is required\n";
  return { status: 401, headers: { ...headers, "www-authenticate": "Bearer" }, body };
}

/** The upper bounds of the buckets of durations, in seconds. */
const BOUNDS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The counters of services, with their help texts. */
const COUNTERS: Readonly<Record<Counter, string>> = {
  fairlead_gossip_refused_entries_total:
    "Entries of gossip maps that were refused because their clocks are too far ahead.",
  fairlead_gossip_peer_failures_total:
    "Streams of gossip maps to other servers that failed or were refused. Each is opened again.",
  fairlead_map_terms_total: "Terms in which this server became the primary of a partition of a map.",
  fairlead_map_backups_lost_total: "Backups that left the in-sync set of a partition that this server led.",
};

/** The durations of the unary calls of a method. */
interface Durations {
  /** The number of calls per bucket: up to its bound, and above the bound before. The last one is above all bounds. */
  buckets: number[];
  sumS: number;
}

/**
 * Creates counters by method, protocol and code: a client cannot make their number grow. Streams are not timed, as they
 * last for as long as their clients want.
 */
export function createMetrics(): Metrics {
  const calls: CallCounts = new Map();
  const durations = new Map<string, Durations>();
  const streams = new Map<string, number>();
  const counters = new Map<string, number>();

  return {
    count: (counter, by) => void counters.set(counter, (counters.get(counter) ?? 0) + by),
    onStart({ isStream, method }) {
      if (isStream) streams.set(method, (streams.get(method) ?? 0) + 1);
    },
    onEnd(call, code, durationMs) {
      count(calls, call, code);
      if (call.isStream) streams.set(call.method, (streams.get(call.method) ?? 1) - 1);
      else time(durations, call, durationMs / 1000);
    },
    text(memory) {
      const lines = [
        ...family("fairlead_calls_total", "counter", "Calls that have ended, by how they ended."),
        ...countLines(calls),
        ...family("fairlead_streams_open", "gauge", "Streams that are open now."),
        ...[...streams].map(([method, open]) => `fairlead_streams_open${labelsOf({ method })} ${open}`),
        ...family("fairlead_call_duration_seconds", "histogram", "How long unary calls took."),
        ...[...durations].flatMap(([method, taken]) => histogram(method, taken)),
        ...Object.entries(COUNTERS).flatMap(([name, help]) => [
          ...family(name, "counter", help),
          `${name} ${counters.get(name) ?? 0}`,
        ]),
        ...Object.entries(memory).flatMap(([name, bytes]) => [
          ...family(name, "gauge", "Memory of the process in bytes."),
          `${name} ${bytes}`,
        ]),
      ];
      return `${lines.join("\n")}\n`;
    },
  };
}

/** The number of calls by method, protocol and code. */
type CallCounts = Map<string, Map<string, Map<string, { calls: number }>>>;

/** Maps in maps: to make a key of the labels takes longer, and this runs for every call. */
function count(counts: CallCounts, { method, protocol }: Call, code: string): void {
  let byProtocol = counts.get(method);
  if (!byProtocol) counts.set(method, (byProtocol = new Map()));
  let byCode = byProtocol.get(protocol);
  if (!byCode) byProtocol.set(protocol, (byCode = new Map()));
  const counted = byCode.get(code);
  if (counted) counted.calls++;
  else byCode.set(code, { calls: 1 });
}

function* countLines(counts: CallCounts): Generator<string> {
  for (const [method, byProtocol] of counts) {
    for (const [protocol, byCode] of byProtocol) {
      for (const [code, { calls }] of byCode)
        yield `fairlead_calls_total${labelsOf({ method, protocol, code })} ${calls}`;
    }
  }
}

function time(durations: Map<string, Durations>, { method }: Call, seconds: number): void {
  let taken = durations.get(method);
  if (!taken) durations.set(method, (taken = { buckets: Array(BOUNDS_S.length + 1).fill(0), sumS: 0 }));
  const fits = BOUNDS_S.findIndex((bound) => seconds <= bound);
  const at = fits < 0 ? BOUNDS_S.length : fits;
  taken.buckets[at] = (taken.buckets[at] ?? 0) + 1;
  taken.sumS += seconds;
}

function histogram(method: string, { buckets, sumS }: Durations): string[] {
  const name = "fairlead_call_duration_seconds";
  let count = 0;
  // In the text format each bucket includes the smaller ones.
  const lines = buckets.map((taken, i) => {
    count += taken;
    return `${name}_bucket${labelsOf({ method, le: String(BOUNDS_S[i] ?? "+Inf") })} ${count}`;
  });
  const labels = labelsOf({ method });
  return [...lines, `${name}_sum${labels} ${sumS}`, `${name}_count${labels} ${count}`];
}

const family = (name: string, type: string, help: string): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
];

/** Labels in the text format. No value needs escaping: methods, protocols, codes and numbers have no quotes. */
const labelsOf = (labels: Record<string, string>): string =>
  `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .join(",")}}`;
