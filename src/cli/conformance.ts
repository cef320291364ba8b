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
import { HTTP_VERSIONS, PROTOCOLS, type Way, waysOf } from "./conformance-ways.js";
import { errorText, reasonOf } from "./error-text.js";
import { openMirror } from "./mirror.js";
import { mustBeReachable } from "./reachable.js";

const PROFILES: Record<string, Profile> = { fairlead: FAIRLEAD, layotto: LAYOTTO };

const REPORTS: Record<string, (report: Report) => string> = {
  text: textReport,
  junit: junitReport,
  json: jsonReport,
  html: htmlReport,
  tap: tapReport,
};

/**
 * `fairlead conformance [URL]`: holds a server against the suite. 0 where all that is expected holds, 1 where something does
 * not, 2 where it could not be run, or not to the end. With `--serve` it is a client that is judged.
 */
export async function conformance(args: string[]): Promise<number> {
  try {
    const serving = servingAsked(args);
    if (serving) return await judgeClients(serving.host, serving.port);
    const asked = parsed(args);
    const report = await judged(asked);
    const text = (REPORTS[asked.report] ?? textReport)(report);
    if (asked.output === undefined) process.stdout.write(text);
    else await write(asked.output, text);
    if (asked.output !== undefined || asked.report !== "text") process.stderr.write(textReport(report));
    if (skipsForConfiguration(report)) process.stderr.write(howToRunAll(asked.url));
    if (report.runs.some(({ lost }) => lost !== undefined)) return 2;
    return report.runs.every(hasPassed) ? 0 : 1;
  } catch (error) {
    process.stderr.write(`fairlead: ${errorText(error)}\n`);
    return 2;
  }
}

/** Where to serve, if that is asked for: `--serve [--host HOST] [--port N]`, and nothing else. */
function servingAsked(args: string[]): { host: string; port: number } | undefined {
  if (!args.includes("--serve")) return undefined;
  const { options } = parseCommandLine(args, {
    serve: { type: "boolean" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "34904" },
  });
  return { host: options.host, port: numberOption("port", options.port, 0, 65_535) };
}

interface Asked {
  /** Undefined: the reference server itself. */
  url: string | undefined;
  ways: Way[];
  profile: Profile;
  primitives: Set<Primitive>;
  report: string;
  output: string | undefined;
  config: string | undefined;
  waits: boolean;
}

function parsed(args: string[]): Asked {
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
    throw new UsageError("--config needs a URL: the reference server's own stores are known");
  }
  const names = options.primitive?.flatMap((names) => names.split(","));
  const primitives =
    names?.map((name) => oneOf("primitive", primitiveSpelled(name) ?? name, PRIMITIVE_NAMES)) ??
    PRIMITIVE_NAMES;
  const protocol = oneOf("protocol", options.protocol, [...PROTOCOLS, "all"] as const);
  const version = oneOf("http-version", options["http-version"], [...HTTP_VERSIONS, "all"] as const);
  const ways = waysOf(
    protocol === "all" ? PROTOCOLS : [protocol],
    version === "all" ? HTTP_VERSIONS : [version],
  );
  if (ways.length === 0)
    throw new UsageError("gRPC needs HTTP/2: --protocol grpc excludes --http-version 1.1");
  return {
    url,
    ways,
    profile: PROFILES[oneOf("profile", options.profile, Object.keys(PROFILES))] ?? FAIRLEAD,
    primitives: new Set(primitives),
    report: oneOf("report", options.report, Object.keys(REPORTS)),
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

async function judged(asked: Asked): Promise<Report> {
  const config = asked.config === undefined ? {} : await readConformanceConfig(asked.config);
  const own = asked.url === undefined ? await openConformanceServer() : undefined;
  const url = asked.url ?? own?.url ?? "";
  const mirror = config.mirrorPort === undefined ? undefined : await openMirror(config.mirrorPort);
  const runs: Run[] = [];
  // What a case that has failed leaves behind fails too, and is no one's: it must not end the run.
  const letBe = () => {};
  const events = ["unhandledRejection", "rejectionHandled"] as const;
  for (const event of events) process.on(event, letBe);
  try {
    await mustBeReachable(url);
    for (const way of asked.ways) runs.push(await judgedBy(way, url, { asked, config }));
  } finally {
    for (const event of events) process.off(event, letBe);
    await mirror?.close();
    await own?.close();
  }
  return { server: url, profile: asked.profile.name, at: new Date(), runs };
}

interface Judging {
  asked: Asked;
  config: ConformanceConfig;
}

async function judgedBy(way: Way, url: string, { asked, config }: Judging): Promise<Run> {
  const { profile, primitives, waits } = asked;
  const wanted = cases.filter(({ primitive }) => primitives.has(primitive));
  const needsClock = ({ needs }: Case) => asked.url === undefined && needs.includes("clock");
  const open = { way, waits, config };
  const first = await withTarget(url, open, async (target) => {
    const missing = await missingStores(target.transport, target.stores, primitives);
    if (missing.length > 0) throw new UsageError(toldMissing(missing, url));
    return run(
      target,
      wanted.filter((one) => !needsClock(one)),
      { way: way.name, profile },
    );
  });
  if (first.lost !== undefined || !wanted.some(needsClock)) return first;
  const second = await onClock(open, wanted.filter(needsClock), profile);
  return { ...second, ms: first.ms + second.ms, results: [...first.results, ...second.results] };
}

/** Runs cases that move the server's clock: one at a time, on a server whose clock stands still but for that. */
async function onClock(open: Opening, wanted: readonly Case[], profile: Profile): Promise<Run> {
  let nowMs = Date.now();
  const { url, close } = await openConformanceServer(() => nowMs);
  const passTime = (ms: number) => {
    nowMs += ms;
  };
  try {
    return await withTarget(url, { ...open, passTime }, (target) =>
      run(target, wanted, { way: open.way.name, profile, atOnce: 1 }),
    );
  } finally {
    await close();
  }
}

interface Opening extends Pick<Target, "passTime"> {
  way: Way;
  waits: boolean;
  config: ConformanceConfig;
}

async function withTarget<T>(
  url: string,
  { way, waits, config, passTime }: Opening,
  use: (target: Target) => Promise<T>,
): Promise<T> {
  const transport = way.dial(url);
  try {
    const target = await openTarget({
      transport,
      waits,
      streams: way.streams,
      ...(config.stores && { stores: config.stores }),
      ...(passTime && { passTime }),
      second: async () => {
        const other = way.dial(url);
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

const toldMissing = (missing: string[], url: string): string =>
  `the server at ${url} has no ${missing.join(", no ")}: name what it has in --config FILE, see docs/conformance.md, ` +
  "or leave the primitive out by --primitive";

/** Whether cases were skipped that a server with the suite's components would run. */
const skipsForConfiguration = ({ runs }: Report): boolean =>
  runs.some(({ results }) =>
    results.some(
      ({ outcome }) => outcome.status === "skipped" && outcome.reason.startsWith("the configuration "),
    ),
  );

const howToRunAll = (url: string | undefined): string =>
  `
  To run the cases that were skipped for the configuration: start the server by fairlead serve --conformance, or configure
  it as docs/conformance.md shows and describe that in --config FILE. fairlead conformance without a URL runs all of them${
    url === undefined ? "" : " on a server of its own"
  }.
`;
