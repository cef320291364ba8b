import type { Interceptor } from "@connectrpc/connect";
import { quote } from "../lib/quote.js";
import type { Logger } from "../server/index.js";
import { isHttpUrl, UsageError } from "./command-line.js";

/** Interceptors that trace and measure a server. */
export interface Telemetry {
  interceptors: Interceptor[];
  clientInterceptors: Interceptor[];
  /** Sends the remaining telemetry, for at most five seconds. */
  close(): Promise<void>;
}

type Env = Record<string, string | undefined>;

/** The part of the SDK that is used. The SDK is an optional peer dependency, so its types may be missing. */
interface Sdk {
  NodeSDK: new (options?: { serviceName?: string }) => { start(): void; shutdown(): Promise<void> };
}

const PACKAGES = ["@opentelemetry/api", "@opentelemetry/sdk-node"];
const INSTALL = `npm install ${PACKAGES.join(" ")}`;
const [API = "", SDK = ""] = PACKAGES;

/** The environment variables of OpenTelemetry that name a collector. */
const ENDPOINTS = ["", "_TRACES", "_METRICS"].map((signal) => `OTEL_EXPORTER_OTLP${signal}_ENDPOINT`);

const SHUTDOWN_MS = 5000;

/**
 * Exports traces and metrics by OTLP, to `url` or to the collector that OpenTelemetry's variables in `env` name.
 * Undefined if there is neither. Those variables also set the protocol, headers, sampler and service name. If the SDK
 * is not installed, it fails if `url` is given, otherwise it warns.
 *
 */
export async function openTelemetry(
  url: string | undefined,
  log: Logger,
  env: Env = process.env,
): Promise<Telemetry | undefined> {
  if (url !== undefined && !isHttpUrl(url)) {
    throw new UsageError(
      `--otlp must be the URL of a collector, like http://localhost:4318, got ${quote(url)}`,
    );
  }
  if (url === undefined && (env["OTEL_SDK_DISABLED"] === "true" || !ENDPOINTS.some((name) => env[name]))) {
    return undefined;
  }
  const sdk = (await import(SDK).catch(() => undefined)) as Sdk | undefined;
  if (!sdk) {
    if (url !== undefined) throw new Error(`--otlp needs packages that are not installed: ${INSTALL}`);
    log.warn(
      { install: INSTALL },
      "the environment asks for OTLP, but the packages for it are not installed",
    );
    return undefined;
  }
  if (url !== undefined) env["OTEL_EXPORTER_OTLP_ENDPOINT"] = url;
  // Other signals are exported only if the environment says so.
  const defaults = { TRACES_EXPORTER: "otlp", METRICS_EXPORTER: "otlp", LOGS_EXPORTER: "none" };
  for (const [name, value] of Object.entries(defaults)) env[`OTEL_${name}`] ||= value;
  env["OTEL_SERVICE_NAME"] ||= "fairlead";
  // With the SDK's default of ten seconds, an unreachable collector would delay the end of the process for so long.
  env["OTEL_EXPORTER_OTLP_TIMEOUT"] ||= String(SHUTDOWN_MS);
  await logProblems(log);
  const running = new sdk.NodeSDK();
  running.start();
  const { otelClient, otelServer } = await import("../otel.js");
  return {
    interceptors: [otelServer()],
    clientInterceptors: [otelClient()],
    close: async () => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, SHUTDOWN_MS);
      });
      const sent = running.shutdown().catch((err: unknown) => {
        log.warn({ err }, "telemetry could not be sent");
      });
      await Promise.race([sent, late]);
      clearTimeout(timer);
    },
  };
}

/** Logs the problems of the SDK, which it does not report by default. */
async function logProblems(log: Logger): Promise<void> {
  const { DiagLogLevel, diag } = (await import(API)) as typeof import("@opentelemetry/api");
  const warn = (message: string, ...rest: unknown[]) => {
    const text = [message, ...rest.map(String)].join(" ");
    log.warn(
      { telemetry: text.length > 500 ? `${text.slice(0, 500)}…` : text },
      "OpenTelemetry reports a problem",
    );
  };
  const ignore = () => {};
  diag.setLogger(
    { error: warn, warn, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
