import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import type { Transport } from "@connectrpc/connect";
import {
  cases,
  counted,
  FAIRLEAD,
  htmlReport,
  jsonReport,
  junitReport,
  LAYOTTO,
  openTarget,
  type Primitive,
  type Profile,
  type Report,
  type Run,
  run,
  tapReport,
  textReport,
} from "../conformance/index.js";
import { createNodeTransport, createTunnelTransport } from "../node.js";
import { type ConformanceConfig, readConformanceConfig } from "./conformance-config.js";
import { judgeClients } from "./conformance-serve.js";
import { openMirror } from "./mirror.js";

type Way = Transport & { close(): Promise<void> };

const WAYS: Record<string, (url: string) => Way> = {
  connect: (url) => createNodeTransport(url),
  grpc: (url) => createNodeTransport(url, { protocol: "grpc" }),
  "grpc-web": (url) => createNodeTransport(url, { protocol: "grpc-web" }),
  tunnel: (url) => createTunnelTransport(url),
};

const PROFILES: Record<string, Profile> = { fairlead: FAIRLEAD, layotto: LAYOTTO };

const REPORTS: Record<string, (report: Report) => string> = {
  text: textReport,
  junit: junitReport,
  json: jsonReport,
  html: htmlReport,
  tap: tapReport,
};

/**
 * `fairlead conformance URL`: holds a server against the suite. 0 where all that is expected holds, 1 where something does
 * not, 2 where it could not be run. With `--serve` it is a client that is judged.
 */
export async function conformance(args: string[]): Promise<number> {
  try {
    const serving = servingAsked(args);
    if (serving) return await judgeClients(serving.host, serving.port);
    const asked = parsed(args);
    const report = await judged(asked);
    const text = (REPORTS[asked.report] ?? textReport)(report);
    if (asked.output === undefined) process.stdout.write(text);
    else await writeFile(asked.output, text);
    if (asked.output !== undefined || asked.report !== "text") process.stderr.write(textReport(report));
    return report.runs.every(({ results }) => counted(results).failed === 0) ? 0 : 1;
  } catch (error) {
    process.stderr.write(`fairlead: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
}

/** Where to serve, if that is asked for: `--serve [--host HOST] [--port N]`, and nothing else. */
function servingAsked(args: string[]): { host: string; port: number } | undefined {
  if (!args.includes("--serve")) return undefined;
  const { values } = parseArgs({
    args,
    options: {
      serve: { type: "boolean" },
      host: { type: "string", default: "127.0.0.1" },
      port: { type: "string", default: "34904" },
    },
  });
  const port = Number(values.port);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return { host: values.host, port };
  throw new RangeError(`--port must be a number from 0 to 65535, got "${values.port}"`);
}

interface Asked {
  url: string;
  ways: string[];
  profile: Profile;
  primitives: Set<string> | undefined;
  report: string;
  output: string | undefined;
  config: string | undefined;
  waits: boolean;
}

function parsed(args: string[]): Asked {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      protocol: { type: "string", default: "connect" },
      config: { type: "string" },
      profile: { type: "string", default: "fairlead" },
      primitive: { type: "string", multiple: true },
      report: { type: "string", default: "text" },
      output: { type: "string" },
      "no-wait": { type: "boolean", default: false },
    },
  });
  const [url, ...more] = positionals;
  if (url === undefined || more.length > 0 || !/^https?:\/\//.test(url)) {
    throw new TypeError(
      `one URL is needed, which begins with http:// or https://, got "${positionals.join(" ")}"`,
    );
  }
  const primitives = values.primitive?.flatMap((names) => names.split(","));
  for (const name of primitives ?? []) oneOf("primitive", name, known);
  return {
    url,
    ways:
      values.protocol === "all"
        ? Object.keys(WAYS)
        : [oneOf("protocol", values.protocol, [...Object.keys(WAYS), "all"])],
    profile: PROFILES[oneOf("profile", values.profile, Object.keys(PROFILES))] ?? FAIRLEAD,
    primitives: primitives && new Set(primitives),
    report: oneOf("report", values.report, Object.keys(REPORTS)),
    output: values.output,
    config: values.config,
    waits: !values["no-wait"],
  };
}

const known: Primitive[] = [...new Set(cases.map(({ primitive }) => primitive))];

function oneOf(option: string, given: string, known: readonly string[]): string {
  if (known.includes(given)) return given;
  throw new RangeError(`--${option} must be one of ${known.join(", ")}, got "${given}"`);
}

async function judged({ url, ways, profile, primitives, config: path, waits }: Asked): Promise<Report> {
  const config = path === undefined ? {} : await readConformanceConfig(path);
  const wanted = cases.filter(({ primitive }) => !primitives || primitives.has(primitive));
  const mirror = config.mirrorPort === undefined ? undefined : await openMirror(config.mirrorPort);
  const runs: Run[] = [];
  // What a case that has failed leaves behind fails too, and is no one's: it must not end the run.
  const letBe = () => {};
  process.on("unhandledRejection", letBe);
  try {
    for (const way of ways) runs.push(await judgedBy(way, { url, profile, waits, config, wanted }));
  } finally {
    process.off("unhandledRejection", letBe);
    await mirror?.close();
  }
  return { server: url, profile: profile.name, at: new Date(), runs };
}

interface Judging {
  url: string;
  profile: Profile;
  waits: boolean;
  config: ConformanceConfig;
  wanted: typeof cases;
}

async function judgedBy(way: string, { url, profile, waits, config, wanted }: Judging): Promise<Run> {
  const dial = () => (WAYS[way] as (url: string) => Way)(url);
  const transport = dial();
  try {
    const target = await openTarget({
      transport,
      waits,
      stores: config.stores ?? {},
      second: async () => {
        const other = dial();
        return { transport: other, close: () => other.close() };
      },
      ...(config.dialIn !== false && {
        dialIn: (appId: string) => createTunnelTransport(url, { appId }),
      }),
    });
    return await run(target, wanted, { way, profile });
  } finally {
    await transport.close();
  }
}
