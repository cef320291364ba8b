import { writeFile } from "node:fs/promises";
import {
  type Case,
  cases,
  FAIRLEAD,
  hasPassed,
  htmlReport,
  jsonReport,
  junitReport,
  LAYOTTO,
  missingStores,
  openTarget,
  type Primitive,
  type Profile,
  type Report,
  type Run,
  run,
  type Target,
  tapReport,
  textReport,
} from "../conformance/index.js";
import { quote } from "../lib/quote.js";
import { createTunnelTransport } from "../node.js";
import { PRIMITIVE_NAMES, primitiveSpelled } from "../server/primitives.js";
import { isHttpUrl, numberOption, oneOf, parseCommandLine, UsageError } from "./command-line.js";
import { type ConformanceConfig, readConformanceConfig } from "./conformance-config.js";
import { judgeClients } from "./conformance-serve.js";
import { openConformanceServer } from "./conformance-server.js";
import { HTTP_VERSIONS, PROTOCOLS, type TransportChoice, transportsFor } from "./conformance-transports.js";
import { errorText, reasonOf } from "./error-text.js";
import { openMirror } from "./mirror.js";
import { requireReachable } from "./reachable.js";

const PROFILES: Record<string, Profile> = { fairlead: FAIRLEAD, layotto: LAYOTTO };

const REPORTS: Record<string, (report: Report) => string> = {
  text: textReport,
  junit: junitReport,
  json: jsonReport,
  html: htmlReport,
  tap: tapReport,
};

/**
 * `fairlead conformance [URL]`: runs the conformance suite against a server. Exit status 0: all runs passed; 1: one
 * failed; 2: a run could not start or ended early. With `--serve` it judges a client instead.
 *
 */
export async function conformanceCommand(args: string[]): Promise<number> {
  try {
    const address = parseServeOptions(args);
    if (address) return await judgeClients(address.host, address.port);
    const settings = parseSettings(args);
    const report = await runAll(settings);
    const text = (REPORTS[settings.report] ?? textReport)(report);
    if (settings.output === undefined) process.stdout.write(text);
    else await write(settings.output, text);
    if (settings.output !== undefined || settings.report !== "text") process.stderr.write(textReport(report));
    if (hasConfigurationSkips(report)) process.stderr.write(allCasesHint(settings.url));
    if (report.runs.some(({ lost }) => lost !== undefined)) return 2;
    return report.runs.every(hasPassed) ? 0 : 1;
  } catch (error) {
    process.stderr.write(`fairlead: ${errorText(error)}\n`);
    return 2;
  }
}

/** The address for `--serve`, which excludes other options than `--host` and `--port`; undefined without `--serve`. */
function parseServeOptions(args: string[]): { host: string; port: number } | undefined {
  if (!args.includes("--serve")) return undefined;
  const { options } = parseCommandLine(args, {
    serve: { type: "boolean" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "34904" },
  });
  return { host: options.host, port: numberOption("--port", options.port, 0, 65_535) };
}

interface Settings {
  /** Undefined: a reference server that the command starts. */
  url: string | undefined;
  transports: TransportChoice[];
  profile: Profile;
  primitives: Set<Primitive>;
  report: string;
  output: string | undefined;
  config: string | undefined;
  waits: boolean;
}

function parseSettings(args: string[]): Settings {
  const { options, positionals } = parseCommandLine(
    args,
    {
      protocol: { type: "string", default: "connect" },
      "http-version": { type: "string", default: "2" },
      config: { type: "string" },
      profile: { type: "string", default: "fairlead" },
      primitive: { type: "string", multiple: true },
      report: { type: "string", default: "text" },
      output: { type: "string" },
      "no-wait": { type: "boolean" },
    },
    1,
  );
  const [url] = positionals;
  if (url !== undefined && !isHttpUrl(url)) {
    throw new UsageError(`the server's URL must begin with http:// or https://, got ${quote(url)}`);
  }
  if (url === undefined && options.config !== undefined) {
    throw new UsageError(
      "--config needs a URL: without one, the command starts a server whose stores it knows",
    );
  }
  const names = options.primitive?.flatMap((names) => names.split(","));
  const primitives =
    names?.map((name) => oneOf("--primitive", primitiveSpelled(name) ?? name, PRIMITIVE_NAMES)) ??
    PRIMITIVE_NAMES;
  const protocol = oneOf("--protocol", options.protocol, [...PROTOCOLS, "all"] as const);
  const version = oneOf("--http-version", options["http-version"], [...HTTP_VERSIONS, "all"] as const);
  const transports = transportsFor(
    protocol === "all" ? PROTOCOLS : [protocol],
    version === "all" ? HTTP_VERSIONS : [version],
  );
  if (transports.length === 0)
    throw new UsageError("gRPC needs HTTP/2: --protocol grpc excludes --http-version 1.1");
  return {
    url,
    transports,
    profile: PROFILES[oneOf("--profile", options.profile, Object.keys(PROFILES))] ?? FAIRLEAD,
    primitives: new Set(primitives),
    report: oneOf("--report", options.report, Object.keys(REPORTS)),
    output: options.output,
    config: options.config,
    waits: !options["no-wait"],
  };
}

async function write(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((error: unknown) => {
    throw new UsageError(`Cannot write the report ${quote(path)}: ${reasonOf(error)}`);
  });
}

async function runAll(settings: Settings): Promise<Report> {
  const config = settings.config === undefined ? {} : await readConformanceConfig(settings.config);
  const own = settings.url === undefined ? await openConformanceServer() : undefined;
  const url = settings.url ?? own?.url ?? "";
  const mirror = config.mirrorPort === undefined ? undefined : await openMirror(config.mirrorPort);
  const runs: Run[] = [];
  // Promises that a failed case leaves behind may reject later. That must not end the run.
  const ignore = () => {};
  const events = ["unhandledRejection", "rejectionHandled"] as const;
  for (const event of events) process.on(event, ignore);
  try {
    await requireReachable(url);
    for (const choice of settings.transports) runs.push(await runOver(choice, url, { settings, config }));
  } finally {
    for (const event of events) process.off(event, ignore);
    await mirror?.close();
    await own?.close();
  }
  return { server: url, profile: settings.profile.name, at: new Date(), runs };
}

interface RunContext {
  settings: Settings;
  config: ConformanceConfig;
}

async function runOver(choice: TransportChoice, url: string, { settings, config }: RunContext): Promise<Run> {
  const { profile, primitives, waits } = settings;
  const wanted = cases.filter(({ primitive }) => primitives.has(primitive));
  const needsClock = ({ needs }: Case) => settings.url === undefined && needs.includes("clock");
  const open = { choice, waits, config };
  const first = await withTarget(url, open, async (target) => {
    const missing = await missingStores(target.transport, target.stores, primitives);
    if (missing.length > 0) throw new UsageError(missingStoresMessage(missing, url));
    return run(
      target,
      wanted.filter((one) => !needsClock(one)),
      { transport: choice.name, profile },
    );
  });
  if (first.lost !== undefined || !wanted.some(needsClock)) return first;
  const second = await runOnClock(open, wanted.filter(needsClock), profile);
  return { ...second, ms: first.ms + second.ms, results: [...first.results, ...second.results] };
}

/** Runs the cases that move the clock, one at a time, on a server whose clock moves only by them. */
async function runOnClock(open: TargetSettings, wanted: readonly Case[], profile: Profile): Promise<Run> {
  let nowMs = Date.now();
  const { url, close } = await openConformanceServer(() => nowMs);
  const passTime = (ms: number) => {
    nowMs += ms;
  };
  try {
    return await withTarget(url, { ...open, passTime }, (target) =>
      run(target, wanted, { transport: open.choice.name, profile, atOnce: 1 }),
    );
  } finally {
    await close();
  }
}

interface TargetSettings extends Pick<Target, "passTime"> {
  choice: TransportChoice;
  waits: boolean;
  config: ConformanceConfig;
}

async function withTarget<T>(
  url: string,
  { choice, waits, config, passTime }: TargetSettings,
  use: (target: Target) => Promise<T>,
): Promise<T> {
  const transport = choice.dial(url);
  try {
    const target = await openTarget({
      transport,
      waits,
      streams: choice.streams,
      ...(config.stores && { stores: config.stores }),
      ...(passTime && { passTime }),
      second: async () => {
        const other = choice.dial(url);
        return { transport: other, close: () => other.close() };
      },
      ...(config.dialIn !== false && {
        dialIn: (appId: string) => createTunnelTransport(url, { appId }),
      }),
    });
    return await use(target);
  } finally {
    await transport.close();
  }
}

const missingStoresMessage = (missing: string[], url: string): string =>
  `the server at ${url} has no ${missing.join(", no ")}: name its stores in --config FILE (see docs/conformance.md), ` +
  "or leave out the primitive by --primitive";

/** Whether cases were skipped that would run on a server with the components of the suite. */
const hasConfigurationSkips = ({ runs }: Report): boolean =>
  runs.some(({ results }) =>
    results.some(
      ({ outcome }) => outcome.status === "skipped" && outcome.reason.startsWith("the configuration "),
    ),
  );

const allCasesHint = (url: string | undefined): string =>
  `
  Some cases were skipped because the server lacks components. To run them, start the server by
  fairlead serve --conformance, or configure it as docs/conformance.md shows and describe that in --config FILE.
${url === undefined ? "" : "  fairlead conformance without a URL runs all cases on a server of its own.\n"}`;
