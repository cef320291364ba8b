import type { Interceptor } from "@connectrpc/connect";
import { quote } from "../lib/quote.js";
import type { Log } from "../server/index.js";
import { isHttpUrl, UsageError } from "./command-line.js";

/** The options that trace and measure a server, and the function that sends what is left. */
export interface Telemetry {
  interceptors: Interceptor[];
  clientInterceptors: Interceptor[];
  /** Sends what has not been sent yet, for at most five seconds. */
  close(): Promise<void>;
}

type Env = Record<string, string | undefined>;

/** The SDK, as far as it is needed: an optional peer, so that its types may be missing. */
interface Sdk {
  NodeSDK: new (options?: { serviceName?: string }) => { start(): void; shutdown(): Promise<void> };
}

const PACKAGES = ["@opentelemetry/api", "@opentelemetry/sdk-node"];
const INSTALL = `npm install ${PACKAGES.join(" ")}`;
const [API = "", SDK = ""] = PACKAGES;

/** The variables by which OpenTelemetry's SDKs are told where a collector is. */
const ENDPOINTS = ["", "_TRACES", "_METRICS"].map((signal) => `OTEL_EXPORTER_OTLP${signal}_ENDPOINT`);

const SHUTDOWN_MS = 5000;

/**
 * Exports traces and metrics by OTLP: to `url` where it is given, otherwise to where OpenTelemetry's own variables in `env`
 * say; undefined where nothing says. All its other settings are those variables: protocol, headers, sampler, service name.
 * Without the SDK it fails where `url` is given, and warns where only the environment asks for it.
 */
export async function openTelemetry(
  url: string | undefined,
  log: Log,
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
      "the environment asks for OTLP, and the packages for it are not installed",
    );
    return undefined;
  }
  if (url !== undefined) env["OTEL_EXPORTER_OTLP_ENDPOINT"] = url;
  // Further signals have exporters only where the environment names them.
  const defaults = { TRACES_EXPORTER: "otlp", METRICS_EXPORTER: "otlp", LOGS_EXPORTER: "none" };
  for (const [name, value] of Object.entries(defaults)) env[`OTEL_${name}`] ||= value;
  env["OTEL_SERVICE_NAME"] ||= "fairlead";
  // With the SDK's ten seconds a collector that is away would hold up the end of the process for as long.
  env["OTEL_EXPORTER_OTLP_TIMEOUT"] ||= String(SHUTDOWN_MS);
  await tellFailures(log);
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

/** The SDK says what it cannot send to no one, unless it is told to whom. */
async function tellFailures(log: Log): Promise<void> {
  const { DiagLogLevel, diag } = (await import(API)) as typeof import("@opentelemetry/api");
  const tell = (message: string, ...rest: unknown[]) => {
    const text = [message, ...rest.map(String)].join(" ");
    log.warn(
      { telemetry: text.length > 500 ? `${text.slice(0, 500)}…` : text },
      "OpenTelemetry reports a problem",
    );
  };
  const ignore = () => {};
  diag.setLogger(
    { error: tell, warn: tell, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
