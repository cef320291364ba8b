import { existsSync } from "node:fs";
import { constants } from "node:os";
import { withConformance } from "../conformance/index.js";
import type { Config, Kind } from "../server/index.js";
import { listen, nodePlatform } from "../server/node.js";
import { numberOption, oneOf, parseCommandLine, shown, UsageError } from "./command-line.js";
import { CONFIG_FILE, readConfigFile } from "./config-file.js";
import { consoleLog, LOG_LEVELS } from "./console-log.js";
import { createServerOn, type Place, placeOf } from "./data-folder.js";
import { reasonOf } from "./error-text.js";
import { openMirror } from "./mirror.js";
import { openTelemetry } from "./otlp.js";
import { followTls, readTls, tlsPaths } from "./tls-files.js";

/** `fairlead serve`: the reference server on one port, until SIGINT or SIGTERM. */
export async function serve(args: string[]): Promise<number> {
  const asked = parsed(args);
  const { path, paths, drainMs, graceMs, host, port, options } = asked;
  const tls = paths && (await readTls(paths));
  const file = path === undefined ? undefined : await readConfigFile(path);
  const log = consoleLog(asked.level);
  for (const warning of file?.warnings ?? [])
    log.warn({ warning }, "the components file refers to what is not there");
  const place = await placeOf(options.data, options.memory);
  const telemetry = await openTelemetry(options.otlp, log);
  const mirror = options.conformance ? await openMirror(0) : undefined;
  const config = mirror ? withConformance(file?.input ?? {}, mirror.url) : (file?.input ?? {});
  const server = await createServerOn(place, {
    config,
    platform: nodePlatform,
    log,
    ...(telemetry && {
      interceptors: telemetry.interceptors,
      clientInterceptors: telemetry.clientInterceptors,
    }),
  });
  const listening = await listen(server, {
    host,
    port,
    insecure: options.insecure,
    drainMs,
    graceMs,
    ...(tls && { tls }),
  }).catch(async (error: unknown) => {
    await server.close();
    await mirror?.close();
    await telemetry?.close();
    throw refusalOf(error, host, port);
  });
  const stopFollowing = paths && tls && followTls(paths, tls, { listening, log });
  const signal = new Promise<string>((resolve) => onSignal(resolve));
  process.stdout.write(banner(listening.url, place, server.config, path));
  const name = await signal;
  const drained = drainMs > 0 ? `not ready from now on, takes calls for ${options.drain} s more; then ` : "";
  process.stdout.write(`${name}: ${drained}calls under way may finish within ${options.grace} s\n`);
  stopFollowing?.();
  const callOff = onSignal((name) => process.exit(128 + constants.signals[name]));
  await listening.close();
  await mirror?.close();
  await telemetry?.close();
  callOff();
  return 0;
}

function parsed(args: string[]) {
  const { options } = parseCommandLine(args, {
    "tls-key": { type: "string" },
    "tls-cert": { type: "string" },
    drain: { type: "string", default: "0" },
    grace: { type: "string", default: "5" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "34904" },
    config: { type: "string" },
    data: { type: "string" },
    memory: { type: "boolean" },
    insecure: { type: "boolean" },
    otlp: { type: "string" },
    conformance: { type: "boolean" },
    "log-level": { type: "string", default: "info" },
  });
  if (options.memory && options.data !== undefined) {
    throw new UsageError("--memory and --data exclude each other: --memory keeps nothing");
  }
  return {
    options,
    drainMs: secondsOption("drain", options.drain),
    graceMs: secondsOption("grace", options.grace),
    host: options.host,
    port: numberOption("port", options.port, 0, 65_535),
    level: oneOf("log-level", options["log-level"], LOG_LEVELS),
    paths: tlsPaths(options["tls-key"], options["tls-cert"]),
    path: options.config ?? (existsSync(CONFIG_FILE) ? CONFIG_FILE : undefined),
  };
}

/** An option in seconds, as milliseconds. */
function secondsOption(name: string, value: string): number {
  const ms = value.trim() === "" ? Number.NaN : Number(value) * 1000;
  if (ms >= 0 && ms < 2 ** 31) return ms;
  throw new UsageError(`--${name} must be a number of seconds, 0 or more, got ${shown(value)}`);
}

/** Why the port could not be opened, in words. */
function refusalOf(error: unknown, host: string, port: number): unknown {
  const { code } = error as { code?: string };
  if (code === "EADDRINUSE") return new Error(`port ${port} on ${host} is taken: choose another with --port`);
  if (code === undefined) return error;
  return new Error(`Cannot listen on ${host}, port ${port}: ${reasonOf(error)}`);
}

/** Calls `heard` with the next signal to end, which then does nothing else. Returns the way to call it off. */
function onSignal(heard: (name: "SIGINT" | "SIGTERM") => void): () => void {
  const names = ["SIGINT", "SIGTERM"] as const;
  const hear = (name: (typeof names)[number]) => {
    callOff();
    heard(name);
  };
  const callOff = () => {
    for (const name of names) process.off(name, hear);
  };
  for (const name of names) process.on(name, hear);
  return callOff;
}

/** What each row of the table is called, by the client's facade, and what it is. */
const PRIMITIVES: [facade: string, what: string, kind: Kind | undefined][] = [
  ["state", "keys and values with etags, bulk and transactions", "state"],
  ["lock", "leases with fences", "lock"],
  ["sequencer", "unique, increasing ids", "sequencer"],
  ["pubsub", "topics, consumer groups, dead letters", "pubsub"],
  ["files", "streams of bytes by name", "files"],
  ["map", "versioned maps, compare and set", undefined],
  ["gossipMap", "replicas that work offline and converge", undefined],
  ["log", "ordered records that are kept", undefined],
  ["configuration", "settings that tell of their changes", "configuration"],
  ["secrets", "read only, never printed", "secrets"],
  ["bindings", "calls to systems outside", "bindings"],
  ["service", "invocation of other apps", "services"],
  ["hello", "is anyone there", "hello"],
];

function banner(url: string, place: Place, config: Config, path: string | undefined): string {
  const rows = PRIMITIVES.map(([facade, what, kind]) => {
    const names = kind ? Object.keys(config[kind]).join(", ") || "none configured" : "made on first use";
    return `  ${facade.padEnd(14)}${what.padEnd(52)}${names}\n`;
  });
  const kept = "memory" in place ? `memory: ${place.memory}` : `disk, in ${place.folder}`;
  return `
  Fairlead at ${url}    engine: ${kept}
  Configured by ${path ?? `defaults: there is no ${CONFIG_FILE} here`}
  Connect, gRPC, gRPC-Web and the tunnel on one port, HTTP/1.1 and HTTP/2 ${url.startsWith("https:") ? "by ALPN" : "without TLS"}

  ${"primitive".padEnd(14)}${"what it is".padEnd(52)}stores
${rows.join("")}
  Try it: npx fairlead tour ${url}
`;
}
