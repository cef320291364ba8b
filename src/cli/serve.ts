import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { type Config, createServer, type Kind } from "../server/index.js";
import { listen, nodePlatform } from "../server/node.js";
import { CONFIG_FILE, readConfigFile } from "./config-file.js";
import { consoleLog } from "./console-log.js";

/** `fairlead serve`: the reference server on one port, until SIGINT or SIGTERM. */
export async function serve(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      host: { type: "string", default: "127.0.0.1" },
      port: { type: "string", default: "34904" },
      config: { type: "string" },
      memory: { type: "boolean", default: false },
      insecure: { type: "boolean", default: false },
    },
  });
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`--port must be a number from 0 to 65535, got "${values.port}"`);
  }
  const path = values.config ?? (existsSync(CONFIG_FILE) ? CONFIG_FILE : undefined);
  const config = path === undefined ? {} : await readConfigFile(path);
  const server = createServer({ config, platform: nodePlatform, log: consoleLog });
  const listening = await listen(server, { host: values.host, port, insecure: values.insecure }).catch(
    (error: unknown) => {
      const taken = (error as { code?: string }).code === "EADDRINUSE";
      throw taken ? new Error(`port ${port} on ${values.host} is taken: choose another with --port`) : error;
    },
  );
  process.stdout.write(banner(listening.url, server.engine.name, server.config, path));
  const signal = await new Promise<string>((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => resolve(name));
  });
  process.stdout.write(`${signal}: calls under way may finish\n`);
  await listening.close();
  return 0;
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

function banner(url: string, engine: string, config: Config, path: string | undefined): string {
  const rows = PRIMITIVES.map(([facade, what, kind]) => {
    const names = kind ? Object.keys(config[kind]).join(", ") || "none configured" : "made on first use";
    return `  ${facade.padEnd(14)}${what.padEnd(52)}${names}\n`;
  });
  return `
  Fairlead at ${url}    engine: ${engine}
  Configured by ${path ?? `defaults: there is no ${CONFIG_FILE} here`}
  Connect, gRPC and gRPC-Web on one port, HTTP/1.1 and HTTP/2 without TLS

  ${"primitive".padEnd(14)}${"what it is".padEnd(52)}stores
${rows.join("")}
  Try it: npx fairlead tour ${url}
`;
}
