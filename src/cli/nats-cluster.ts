import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { quote } from "../lib/quote.js";
import type { Engine } from "../server/index.js";
import type { JetStreamEngineOptions } from "../server/jetstream.js";
import { oneOf, UsageError } from "./command-line.js";
import type { CommandSettings } from "./environment.js";
import { reasonOf } from "./error-text.js";
import { installCommand } from "./install-command.js";
import type { SERVE_OPTIONS } from "./serve-options.js";

/** The packages that the engine needs: optional peer dependencies, as classic-level is. */
const PACKAGES = ["@nats-io/transport-node@3", "@nats-io/jetstream@3"];

/** The NATS cluster that keeps a server's data. */
export type Cluster = Pick<JetStreamEngineOptions, "credentials" | "tls"> & {
  servers: string[];
  name: string;
  replicas: number;
};

type ServeSettings = CommandSettings<typeof SERVE_OPTIONS>;

const TLS_OPTIONS = ["nats-ca", "nats-key", "nats-cert"] as const;

/** The options that need a cluster. */
const NEEDS_CLUSTER = ["replicas", "creds", ...TLS_OPTIONS, "jetstream-name"] as const;

/**
 * The cluster that `option` names, for all data or only for elections, with the text of the credentials; undefined
 * without the option. Fails with a UsageError that names the wrong option.
 */
export async function clusterOf(
  settings: ServeSettings,
  option: "jetstream" | "election" = "jetstream",
): Promise<Cluster | undefined> {
  const { options, nameOf, isGiven } = settings;
  const urls = options[option];
  if (options.jetstream !== undefined && options.election !== undefined) {
    const [election, data] = [nameOf("election"), nameOf("jetstream")];
    throw new UsageError(`${election} needs --data or --memory: with ${data} all servers have the same data`);
  }
  if (urls === undefined) {
    const useless = options.election === undefined ? NEEDS_CLUSTER.find(isGiven) : undefined;
    if (option === "jetstream" && useless !== undefined) {
      throw new UsageError(`${nameOf(useless)} needs --jetstream or --election`);
    }
    return undefined;
  }
  const servers = urls.split(",").map((url) => serverOf(url.trim(), nameOf(option)));
  const replicas = Number(oneOf(nameOf("replicas"), options.replicas, ["1", "3", "5"]));
  const credentials = await credentialsOf(settings);
  const tls = await tlsOf(settings);
  return {
    servers,
    name: options["jetstream-name"],
    replicas,
    ...(credentials !== undefined && { credentials }),
    ...(tls && { tls }),
  };
}

/** Checks the URL of one node, which may have a user or a token. */
function serverOf(url: string, name: string): string {
  if (/^(nats|tls):\/\/[^/?#]+\/?$/.test(url) && URL.canParse(url)) return url.replace(/\/$/, "");
  const given = quote(withoutCredentials(url));
  throw new UsageError(`${name} must be URLs of NATS, like nats://a:4222,nats://b:4222, got ${given}`);
}

/** The URL as it may be printed and logged. */
export const withoutCredentials = (url: string): string => url.replace(/\/\/.*@/, "//");

async function credentialsOf(settings: ServeSettings): Promise<string | undefined> {
  const { options, nameOf } = settings;
  if (options.creds === undefined) return undefined;
  const text = await readOption(settings, "creds");
  if (/^-+BEGIN NATS USER JWT-+$/m.test(text) && /^-+BEGIN USER NKEY SEED-+$/m.test(text)) return text;
  throw new UsageError(
    `${nameOf("creds")} ${quote(options.creds)} is not a credentials file: ` +
      "it needs a NATS user JWT and the seed of its nkey, as nsc generate creds writes them",
  );
}

/** The files of TLS. Without them, URLs with tls:// ask for it. */
async function tlsOf(settings: ServeSettings): Promise<Cluster["tls"]> {
  const { options, nameOf } = settings;
  const { "nats-ca": caPath, "nats-key": keyPath, "nats-cert": certPath } = options;
  if ((keyPath === undefined) !== (certPath === undefined)) {
    const [given, missing] = keyPath === undefined ? ["nats-cert", "nats-key"] : ["nats-key", "nats-cert"];
    throw new UsageError(`--nats-key and --nats-cert go together: --${missing} is missing beside --${given}`);
  }
  if (caPath === undefined && keyPath === undefined) return undefined;
  const pem = {
    ...(caPath !== undefined && { ca: await readOption(settings, "nats-ca") }),
    ...(keyPath !== undefined && {
      key: await readOption(settings, "nats-key"),
      cert: await readOption(settings, "nats-cert"),
    }),
  };
  try {
    createSecureContext(pem);
  } catch (error) {
    const names = TLS_OPTIONS.filter((name) => options[name] !== undefined).map(nameOf);
    throw new UsageError(`${names.join(", ")}: not PEM that fits together: ${reasonOf(error)}`);
  }
  return {
    ...(caPath !== undefined && { caFile: caPath }),
    ...(keyPath !== undefined && { keyFile: keyPath }),
    ...(certPath !== undefined && { certFile: certPath }),
  };
}

async function readOption(
  { options, nameOf }: ServeSettings,
  name: "creds" | (typeof TLS_OPTIONS)[number],
): Promise<string> {
  const path = options[name] ?? "";
  return readFile(path, "utf8").catch((error: unknown) => {
    throw new UsageError(`${nameOf(name)} ${quote(path)}: ${reasonOf(error)}`);
  });
}

/**
 * Opens the engine on a cluster. NATS's packages are loaded here, and only here. Fails with the command that installs
 * them, if they are missing.
 */
export async function openCluster(
  cluster: Cluster,
  options: Omit<JetStreamEngineOptions, keyof Cluster>,
): Promise<Engine> {
  try {
    const { openJetStreamEngine } = await import("../server/jetstream.js");
    return await openJetStreamEngine({ ...options, ...cluster });
  } catch (error) {
    if (!isMissingPackage(error)) throw error;
    const command = installCommand(PACKAGES, "serve --jetstream …");
    throw new Error(`--jetstream needs packages that are not installed: ${command}`);
  }
}

const isMissingPackage = (error: unknown): boolean => {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "ERR_MODULE_NOT_FOUND" && /'@nats-io\//.test(message);
};
