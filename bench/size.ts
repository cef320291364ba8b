import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { build, type Metafile } from "esbuild";

/**
 * The size of a page, against the same page without this package: connect-web, `createClient` and the generated clients.
 * `npm run size` fails if a budget is exceeded; `npm run size -- --modules all` lists the modules.
 */
const BUDGETS = { one: 3000, all: 12_000, tunnel: 7000 };

const root = join(import.meta.dirname, "../..");

/** The services that a page without this package would use, with their generated files. */
const RUNTIME = { Runtime: "spec/proto/runtime/v1/runtime" };
const MAP = { MapService: "atomix/pb/map/map" };
const GOSSIP = { GossipMapService: "atomix/map/map" };
const LOG = { LogService: "atomix/log/log" };
const LIFECYCLE = { Lifecycle: "spec/proto/runtime/v1/lifecycle" };
const EVERY = { ...RUNTIME, ...LIFECYCLE, ...MAP, ...GOSSIP, ...LOG };
/** The part of Runtime that a page with state needs; generating runtime.proto as it is gives no such part. */
const STATE_PART = { Runtime: "runtime/state" };

/** The factory of each facade, and the services that it replaces. */
const FACADES: Record<string, Record<string, string>> = {
  createState: RUNTIME,
  createLock: RUNTIME,
  createSequencer: RUNTIME,
  createPubsub: RUNTIME,
  createFiles: RUNTIME,
  createMap: MAP,
  openGossipMap: GOSSIP,
  createLog: LOG,
  createConfiguration: RUNTIME,
  createSecrets: RUNTIME,
  createBindings: RUNTIME,
  createService: RUNTIME,
  createHello: RUNTIME,
  createLifecycle: LIFECYCLE,
};

const bare = (services: Record<string, string>) => `
  import { createClient } from "@connectrpc/connect";
  import { createConnectTransport } from "@connectrpc/connect-web";
  ${Object.entries(services)
    .map(([name, path]) => `import { ${name} } from "fairlead/gen/${path}_pb.js";`)
    .join("\n")}
  const transport = createConnectTransport({ baseUrl: "/", useBinaryFormat: true });
  globalThis.clients = [${Object.keys(services).join()}].map((service) => createClient(service, transport));`;

const one = (factory: string) => `
  import { ${factory} } from "fairlead";
  import { createWebTransport } from "fairlead/web";
  globalThis.facade = ${factory}(createWebTransport("/"), "default");`;

const ALL = `
  import { createClient } from "fairlead";
  globalThis.fl = createClient("/");`;

/** A page that uses only the tunnel, with the generated client: a caller and a dispatcher, without fetch. */
const TUNNEL = `
  import { createClient } from "@connectrpc/connect";
  import { createTunnelTransport } from "fairlead/tunnel";
  import { Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
  globalThis.client = createClient(Runtime, createTunnelTransport("http://localhost"));`;

/** A page with a gossip map that is kept in IndexedDB, over the tunnel. */
const GOSSIP_PAGE = `
  import { openGossipMap } from "fairlead";
  import { createTunnelTransport } from "fairlead/tunnel";
  import { indexedDbPersistence } from "fairlead/web";
  const persist = indexedDbPersistence("app");
  globalThis.map = openGossipMap(createTunnelTransport("http://localhost"), "m", { persist });`;

/** A page with another facade over the tunnel. */
const TUNNEL_CLIENT = `
  import { createSecrets } from "fairlead";
  import { createTunnelTransport } from "fairlead/tunnel";
  globalThis.secrets = createSecrets(createTunnelTransport("http://localhost"), "default");`;

/** Bytes after gzip: the initial files of a page, and those that it may load later. `modules`: of the former, minified. */
interface Size {
  first: number;
  later: number;
  /** The part of `later` that only gossip maps load. */
  gossip: number;
  modules: Map<string, number>;
}

const zipped = (code: Uint8Array): number => gzipSync(code, { level: 9 }).length;
const sum = (numbers: Iterable<number>): number => [...numbers].reduce((a, b) => a + b, 0);

async function measure(page: string): Promise<Size> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: page, resolveDir: root, sourcefile: "page.js" },
    absWorkingDir: root,
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    platform: "browser",
    outdir: "page",
    write: false,
    metafile: true,
  });
  const bytes = new Map(outputFiles.map(({ path, contents }) => [basename(path), zipped(contents)]));
  const first = beginning(metafile);
  const weight = (paths: Iterable<string>) => sum([...paths].map((path) => bytes.get(basename(path)) ?? 0));
  const modules = new Map<string, number>();
  for (const path of first) {
    for (const [module, { bytesInOutput }] of Object.entries(metafile.outputs[path]?.inputs ?? {})) {
      modules.set(module, (modules.get(module) ?? 0) + bytesInOutput);
    }
  }
  const gossip = sum(
    [...bytes].filter(([name]) => name.startsWith("gossip-map-chunk")).map(([, size]) => size),
  );
  return { first: weight(first), later: sum(bytes.values()) - weight(first), gossip, modules };
}

/** The files that the page imports statically, also indirectly. */
function beginning({ outputs }: Metafile): Set<string> {
  const first = new Set<string>();
  const follow = (path: string): void => {
    if (first.has(path)) return;
    first.add(path);
    for (const { kind, path: next } of outputs[path]?.imports ?? [])
      if (kind === "import-statement") follow(next);
  };
  for (const [path, { entryPoint }] of Object.entries(outputs)) if (entryPoint === "page.js") follow(path);
  return first;
}

const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`;
const signed = (bytes: number) => `${bytes < 0 ? "−" : "+"}${kilobytes(Math.abs(bytes))}`;

function row(what: string, ours: Size, theirs: Size, most?: number): boolean {
  const more = ours.first - theirs.first;
  const met = most === undefined || more <= most;
  const goal = most === undefined ? "| " : `≤ ${kilobytes(most)} | ${met ? "met" : "missed"}`;
  console.log(
    `| ${what} | ${kilobytes(ours.first)} | ${kilobytes(theirs.first)} | ${signed(more)} | ${goal} | ${kilobytes(ours.later)} |`,
  );
  return met;
}

const { values } = parseArgs({ options: { modules: { type: "string" } } });
if (values.modules !== undefined) {
  const factory = values.modules;
  if (factory !== "all" && !FACADES[factory]) {
    throw new RangeError(
      `--modules must be all or one of ${Object.keys(FACADES).join(", ")}, got ${factory}`,
    );
  }
  const [ours, theirs] = await Promise.all([
    measure(factory === "all" ? ALL : one(factory)),
    measure(bare(FACADES[factory] ?? EVERY)),
  ]);
  const names = new Set([...ours.modules.keys(), ...theirs.modules.keys()]);
  const bytes = (name: string) => [ours.modules.get(name) ?? 0, theirs.modules.get(name) ?? 0] as const;
  const more = (name: string) => bytes(name)[0] - bytes(name)[1];
  console.log("| module | bytes minified | in the bare page |\n|---|---|---|");
  for (const name of [...names].sort((a, b) => more(b) - more(a))) {
    if (Math.abs(more(name)) >= 20) console.log(`| ${name} | ${bytes(name).join(" | ")} |`);
  }
} else {
  console.log("| page | bytes | bare | more | goal | | loaded on demand |\n|---|---|---|---|---|---|---|");
  const state = await measure(one("createState"));
  const all = await measure(ALL);
  const held = [
    row("**one facade: state**", state, await measure(bare(RUNTIME)), BUDGETS.one),
    row("**all facades**", all, await measure(bare(EVERY)), BUDGETS.all),
    row(
      "**the tunnel instead of fetch**",
      await measure(TUNNEL),
      await measure(bare(RUNTIME)),
      BUDGETS.tunnel,
    ),
  ];
  row("state, where bare has the same piece of Runtime", state, await measure(bare(STATE_PART)));
  const wholeOf = (size: Size): Size => ({ ...size, first: size.first + size.later, later: 0 });
  row("all facades, with all that is loaded on demand", wholeOf(all), await measure(bare(EVERY)));
  const client = wholeOf(await measure(TUNNEL_CLIENT));
  const withoutGossip = { ...client, first: client.first - client.gossip };
  row(
    "a gossip map in IndexedDB, against the tunnel client, all loaded",
    wholeOf(await measure(GOSSIP_PAGE)),
    withoutGossip,
  );
  for (const [factory, services] of Object.entries(FACADES)) {
    if (factory === "createState") continue;
    row(`only ${factory}()`, await measure(one(factory)), await measure(bare(services)));
  }
  process.exitCode = held.every(Boolean) ? 0 : 1;
}
