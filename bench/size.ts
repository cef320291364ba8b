import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { build as esbuild } from "esbuild";
import { build as vite } from "vite";
import { print, type Row } from "./table.js";

const root = join(import.meta.dirname, "../..");
const gen = (path: string) => `fairlead/gen/${path}_pb.js`;

/** What a page would write without this package, for the services that it calls. */
const bare = (services: Record<string, string>) => `
  import { createClient } from "@connectrpc/connect";
  import { createConnectTransport } from "@connectrpc/connect-web";
  ${Object.entries(services)
    .map(([name, path]) => `import { ${name} } from "${gen(path)}";`)
    .join("\n")}
  const transport = createConnectTransport({ baseUrl: "/", useBinaryFormat: true });
  globalThis.clients = [${Object.keys(services).join()}].map((service) => createClient(service, transport));`;

const RUNTIME = { Runtime: "spec/proto/runtime/v1/runtime" };
const EVERY = {
  ...RUNTIME,
  Lifecycle: "spec/proto/runtime/v1/lifecycle",
  MapService: "atomix/pb/map/map",
  GossipMapService: "atomix/map/map",
  LogService: "atomix/log/log",
};

const PAGES = {
  bareOne: bare(RUNTIME),
  one: `
    import { createState } from "fairlead";
    import { createWebTransport } from "fairlead/web";
    globalThis.state = createState(createWebTransport("/"), "default");`,
  bareAll: bare(EVERY),
  all: `
    import { createClient } from "fairlead";
    globalThis.fl = createClient("/");`,
};

/** What a page loads to begin with, and all that it may load in the end: bytes after gzip. */
interface Size {
  first: number;
  whole: number;
}

const zipped = (code: string | Uint8Array): number => gzipSync(code, { level: 9 }).length;
const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);

/** By Vite as it comes, which puts what is imported later into files of their own. */
async function byVite(page: string): Promise<Size> {
  const entry = join(root, "page.js");
  const { output } = (await vite({
    root,
    configFile: false,
    logLevel: "error",
    plugins: [
      {
        name: "page",
        resolveId: (id) => (id === entry ? id : undefined),
        load: (id) => (id === entry ? page : undefined),
      },
    ],
    build: { write: false, target: "es2022", rolldownOptions: { input: entry } },
  })) as { output: Chunk[] };
  const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]));
  const first = new Set<Chunk>();
  const follow = (chunk: Chunk | undefined): void => {
    if (!chunk || first.has(chunk)) return;
    first.add(chunk);
    for (const name of chunk.imports) follow(chunks.get(name));
  };
  follow(output.find(({ isEntry }) => isEntry));
  return {
    first: sum([...first].map(({ code }) => zipped(code))),
    whole: sum(output.map(({ code }) => zipped(code))),
  };
}

type Chunk = { fileName: string; isEntry: boolean; imports: string[]; code: string };

/** By esbuild into a single file, which holds all that may ever be loaded. */
async function byEsbuild(page: string): Promise<number> {
  const { outputFiles } = await esbuild({
    stdin: { contents: page, resolveDir: root },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    platform: "browser",
    write: false,
  });
  return sum(outputFiles.map(({ contents }) => zipped(contents)));
}

export async function size(): Promise<boolean> {
  const rows: Row[] = [];
  const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`;
  const signed = (bytes: number) => `${bytes < 0 ? "−" : "+"}${kilobytes(Math.abs(bytes))}`;
  for (const [what, ours, theirs, most] of [
    ["core with one facade", "one", "bareOne", 3],
    ["all facades", "all", "bareAll", 12],
  ] as const) {
    const [mine, other] = [await byVite(PAGES[ours]), await byVite(PAGES[theirs])];
    const [single, bareSingle] = [await byEsbuild(PAGES[ours]), await byEsbuild(PAGES[theirs])];
    const more = mine.first - other.first;
    rows.push({
      what: `${what}, loaded by the page`,
      ratio: more / 1000,
      goal: { atMost: most },
      shown: signed(more),
      detail: `${kilobytes(mine.first)} against ${kilobytes(other.first)}; with what is loaded on demand
        ${kilobytes(mine.whole)}; in one file by esbuild ${kilobytes(single)} against ${kilobytes(bareSingle)}`.replace(
        /\s+/g,
        " ",
      ),
    });
  }
  return print("Browser bundle, minified and gzipped, kB more than bare Connect", rows);
}

// As a check of its own: `npm run size`.
if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) process.exitCode = (await size()) ? 0 : 1;
