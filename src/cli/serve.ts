import { existsSync } from "node:fs";
import { constants } from "node:os";
import { withConformance } from "../conformance/index.js";
import { quote } from "../lib/quote.js";
import type { Config } from "../server/index.js";
import { listen, nodePlatform } from "../server/node.js";
import { PRIMITIVES } from "../server/primitives.js";
import { numberOption, oneOf, UsageError, type Variables } from "./command-line.js";
import { CONFIG_FILE, readConfigFile } from "./config-file.js";
import { consoleLog, LOG_LEVELS } from "./console-log.js";
import { chooseDataLocation, createServerAt, type DataLocation, locationText } from "./data-location.js";
import { type CommandSettings, misspelledVariables, parseSettings } from "./environment.js";
import { reasonOf } from "./error-text.js";
import { openMirror } from "./mirror.js";
import { clusterOf } from "./nats-cluster.js";
import { openTelemetry } from "./otlp.js";
import { SERVE_OPTIONS } from "./serve-options.js";
import { followTls, readTls, tlsPathsOf } from "./tls-files.js";

/** `fairlead serve`: the reference server on one port, until SIGINT or SIGTERM. */
export async function serveCommand(args: string[]): Promise<number> {
  const settings = await readSettings(args, process.env);
  const { configPath, options } = settings;
  const running = await start(settings);
  const signal = new Promise<string>((resolve) => onNextSignal(resolve));
  const { location } = running;
  if (location.type === "memory" && location.notice !== undefined) {
    process.stderr.write(`fairlead: ${location.notice}\n`);
  }
  process.stdout.write(banner(running, configPath));
  const name = await signal;
  const drain =
    settings.drainMs > 0 ? `/readyz answers 503, calls are accepted for ${options.drain} s more; then ` : "";
  process.stdout.write(`${name}: ${drain}open calls may finish within ${options.grace} s\n`);
  const ignoreSignals = onNextSignal((name) => process.exit(128 + constants.signals[name]));
  await running.close();
  ignoreSignals();
  return 0;
}

interface RunningServer {
  url: string;
  location: DataLocation;
  config: Config;
  close(): Promise<void>;
}

/** Reads the files that the settings name, creates the server and opens its port. */
async function start(settings: ServeSettings): Promise<RunningServer> {
  const { configPath, tlsPaths, drainMs, graceMs, host, port, options } = settings;
  const tls = tlsPaths && (await readTls(tlsPaths));
  const file = configPath === undefined ? undefined : await readConfigFile(configPath);
  const log = consoleLog(settings.level);
  for (const warning of settings.misspelled) log.warn({}, warning);
  for (const warning of file?.warnings ?? []) {
    log.warn({ warning }, "the components file refers to something that does not exist");
  }
  const { data, memory } = options;
  const location = await chooseDataLocation({ data, memory, cluster: settings.cluster });
  const telemetry = await openTelemetry(options.otlp, log);
  const mirror = options.conformance ? await openMirror(0) : undefined;
  const input = file?.input ?? {};
  const serverOptions = {
    config: mirror ? withConformance(input, mirror.url) : input,
    platform: nodePlatform,
    log,
    ...(telemetry && {
      interceptors: telemetry.interceptors,
      clientInterceptors: telemetry.clientInterceptors,
    }),
  };
  const server = await createServerAt(location, serverOptions, settings.election);
  const closeOthers = async () => {
    await mirror?.close();
    await telemetry?.close();
  };
  const { insecure } = options;
  const listenOptions = { host, port, insecure, drainMs, graceMs, ...(tls && { tls }) };
  const listening = await listen(server, listenOptions).catch(async (error: unknown) => {
    await server.close();
    await closeOthers();
    throw listenError(error, host, port);
  });
  const stopFollowing = tlsPaths && tls && followTls(tlsPaths, tls, { listening, log });
  return {
    url: listening.url,
    location,
    config: server.config,
    async close() {
      stopFollowing?.();
      await listening.close();
      await closeOthers();
    },
  };
}

type ServeSettings = Awaited<ReturnType<typeof readSettings>>;

/** The options that say where the data is. */
const LOCATIONS = ["jetstream", "memory", "data"] as const;

async function readSettings(args: string[], env: Variables) {
  const settings = parseSettings(args, SERVE_OPTIONS, env, LOCATIONS);
  const { options, nameOf } = settings;
  requireOneLocation(settings);
  return {
    options,
    drainMs: secondsOption(nameOf("drain"), options.drain),
    graceMs: secondsOption(nameOf("grace"), options.grace),
    host: options.host,
    port: numberOption(nameOf("port"), options.port, 0, 65_535),
    level: oneOf(nameOf("log-level"), options["log-level"], LOG_LEVELS),
    tlsPaths: tlsPathsOf(options["tls-key"], options["tls-cert"]),
    cluster: await clusterOf(settings),
    election: await clusterOf(settings, "election"),
    configPath: options.config ?? (existsSync(CONFIG_FILE) ? CONFIG_FILE : undefined),
    misspelled: misspelledVariables(SERVE_OPTIONS, env),
  };
}

function requireOneLocation({ options, nameOf }: CommandSettings<typeof SERVE_OPTIONS>): void {
  const given = LOCATIONS.filter((name) => options[name] !== undefined && options[name] !== false);
  if (given.length <= 1) return;
  throw new UsageError(
    `${given.map(nameOf).join(" and ")} exclude each other: the data is in a NATS cluster, in a folder or in memory`,
  );
}

/** An option in seconds, as milliseconds. `name`: how the user spelled it. */
function secondsOption(name: string, value: string): number {
  const ms = value.trim() === "" ? Number.NaN : Number(value) * 1000;
  if (ms >= 0 && ms < 2 ** 31) return ms;
  throw new UsageError(`${name} must be a number of seconds, 0 or more, got ${quote(value)}`);
}

/** The error that says in words why the port could not be opened. */
function listenError(error: unknown, host: string, port: number): unknown {
  const { code } = error as { code?: string };
  if (code === "EADDRINUSE") return new Error(`port ${port} on ${host} is taken: choose another with --port`);
  if (code === undefined) return error;
  return new Error(`Cannot listen on ${host}, port ${port}: ${reasonOf(error)}`);
}

/**
 * Calls `handle` on the next SIGINT or SIGTERM, instead of ending the process. Returns a function that cancels this.
 */
function onNextSignal(handle: (name: "SIGINT" | "SIGTERM") => void): () => void {
  const names = ["SIGINT", "SIGTERM"] as const;
  const onSignal = (name: (typeof names)[number]) => {
    cancel();
    handle(name);
  };
  const cancel = () => {
    for (const name of names) process.off(name, onSignal);
  };
  for (const name of names) process.on(name, onSignal);
  return cancel;
}

function banner({ url, location, config }: RunningServer, configPath: string | undefined): string {
  const rows = Object.entries(PRIMITIVES).flatMap(([name, facts]) => {
    if (!("stores" in facts)) return [];
    const stores =
      facts.stores === "configured"
        ? Object.keys(config[facts.configKey]).join(", ") || "none configured"
        : facts.stores;
    return [`  ${name.padEnd(14)}${facts.summary.padEnd(52)}${stores}\n`];
  });
  const http = url.startsWith("https:") ? "by ALPN" : "without TLS";
  return `
  Fairlead at ${url}    engine: ${locationText(location)}
  Configured by ${configPath ?? `defaults: there is no ${CONFIG_FILE} here`}
  Connect, gRPC, gRPC-Web and the tunnel on one port, HTTP/1.1 and HTTP/2 ${http}

  ${"primitive".padEnd(14)}${"what it is".padEnd(52)}stores
${rows.join("")}
  Try it: npx fairlead tour ${url}
`;
}
