import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { build as esbuild } from "esbuild";
import { build as viteBuild } from "vite";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { anchors, localLinks } from "./links.js";
import { project, run, type Serving, serve } from "./project.js";

const root = join(import.meta.dirname, "../..");
const bin = (name: string) => join(root, "node_modules/.bin", name);

describe("the tarball", () => {
  const files = () =>
    execFileSync("tar", ["-tzf", inject("tarball")], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map((path) => path.replace(/^package\//, ""));

  test("has the build, the contract, the pages that README.md links, and nothing else", () => {
    const top = new Set(files().map((path) => path.split("/")[0]));
    const expected =
      "CHANGELOG.md CONTRIBUTING.md LICENSE README.md bench dist docs examples fairlead.schema.json package.json proto";
    assert.deepEqual([...top].sort(), expected.split(" "));
    const stray = files().filter((path) =>
      /(^|\/)(tests?|node_modules|\.\w+)(\/|$)|\.(test|tsbuildinfo|tgz|check)|package-lock/.test(path),
    );
    assert.deepEqual(stray, []);
    const unexpected = files().filter(
      (path) =>
        (path.startsWith("dist/") && !/^dist\/(src|gen)\/.*\.(js|d\.ts)$/.test(path)) ||
        (path.startsWith("proto/") && !path.endsWith(".proto")) ||
        (path.startsWith("bench/") && path !== "bench/README.md") ||
        (path.startsWith("docs/") && !/\.(md|svg)$/.test(path)),
    );
    assert.deepEqual(unexpected, []);
  });

  test("has the build and the types of each source file, nothing else, and no source maps", () => {
    const sources = ["src", "gen"].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
        .filter((path) => path.endsWith(".ts"))
        .map((path) => `dist/${folder}/${path.replace(/\.ts$/, "")}`),
    );
    assert.ok(sources.length > 100);
    const built = files().filter((path) => path.startsWith("dist/"));
    assert.deepEqual(built.sort(), sources.flatMap((path) => [`${path}.d.ts`, `${path}.js`]).sort());
    const folder = join(project("node"), "node_modules/fairlead");
    const mapped = built.filter((path) =>
      readFileSync(join(folder, path), "utf8").includes("sourceMappingURL"),
    );
    assert.deepEqual(mapped, []);
  });

  test("has every file and heading that its pages link", () => {
    const folder = join(project("node"), "node_modules/fairlead");
    const pages = files().filter((path) => path.endsWith(".md"));
    assert.ok(pages.length > 30);
    const dead = pages.flatMap((page) =>
      localLinks(readFileSync(join(folder, page), "utf8"))
        .filter(({ path, anchor }) => {
          const target = path === "" ? join(folder, page) : join(folder, dirname(page), path);
          if (!existsSync(target)) return true;
          return anchor !== undefined && !anchors(readFileSync(target, "utf8")).includes(anchor);
        })
        .map(({ link }) => `${page}: ${link}`),
    );
    assert.deepEqual(dead, []);
  });

  test("publint and attw report nothing", async () => {
    await run(root, bin("publint"), "run", "--strict", inject("tarball"));
    const schema = ["--exclude-entrypoints", "./schema.json"];
    await run(root, bin("attw"), inject("tarball"), "--profile", "esm-only", "--no-emoji", ...schema);
  });
});

describe("npm install fairlead", () => {
  const lock = () =>
    JSON.parse(readFileSync(join(project("node"), "package-lock.json"), "utf8")) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };

  test("brings at most 20 packages and 25 MB", async () => {
    const packages = Object.keys(lock().packages).filter((path) => path !== "");
    const usage = await run(project("node"), "du", "-sk", "node_modules");
    const kilobytes = Number(usage.split("\t")[0]);
    console.log(`${packages.length} packages, ${(kilobytes / 1024).toFixed(1)} MB on this disk`);
    assert.ok(packages.length <= 20, packages.join("\n"));
    assert.ok(kilobytes <= 25 * 1024);
  });

  test("brings each package once, and none that runs a script", () => {
    const { packages } = lock();
    const scripts = Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript);
    assert.deepEqual(scripts, []);
    const nested = Object.keys(packages).filter((path) => path.lastIndexOf("node_modules/") > 0);
    assert.deepEqual(nested, []);
  });
});

describe("in an empty project", () => {
  const SEEN = {
    state: "pear,plum",
    conflict: true,
    lock: "bigint",
    id: "bigint",
    map: true,
    hello: "Hello, Ada",
    grpcWeb: 2,
    json: 2,
    useHttpGet: 2,
  };
  let server: Serving;

  beforeAll(async () => {
    server = await serve(project("node"), "node_modules/.bin/fairlead");
  });

  afterAll(async () => {
    assert.equal(await server.stop(), 0);
  });

  /** Runs the entry of a bundle as a page would, in a separate process that knows only the URL of the server. */
  const runPage = async (folder: string, entry: string): Promise<unknown> => {
    const page = `globalThis.serverUrl = ${JSON.stringify(server.url)};
      await import(${JSON.stringify(pathToFileURL(entry).href)});
      console.log(JSON.stringify(await globalThis.seen));`;
    return JSON.parse(await run(folder, process.execPath, "--input-type=module", "-e", page));
  };

  test("npx fairlead serve works in an empty folder, without any project, and says that nothing is kept", async () => {
    const folder = join(inject("folder"), "empty");
    mkdirSync(folder);
    const serving = await serve(folder, "npx", "--yes", "--package", inject("tarball"), "fairlead");
    assert.equal((await fetch(`${serving.url}/healthz`)).status, 200);
    await serving.stop();
    assert.match(serving.banner, /engine: memory \(nothing is kept\)$/);
    const notice = /^fairlead: nothing is kept: .*: npx -p fairlead -p classic-level@3 fairlead serve$/m;
    assert.match(serving.errors(), notice);
    assert.deepEqual(readdirSync(folder), []);
  });

  test("npx with classic-level keeps the data in ./fairlead-data, in a folder without any project", async () => {
    const folder = join(inject("folder"), "npx-disk");
    mkdirSync(folder);
    const packages = ["--package", inject("tarball"), "--package", "classic-level@3"];
    const serving = await serve(folder, "npx", "--yes", ...packages, "fairlead");
    assert.equal((await fetch(`${serving.url}/healthz`)).status, 200);
    await serving.stop();
    assert.match(serving.banner, /engine: disk, in fairlead-data$/);
    assert.doesNotMatch(serving.errors(), /nothing is kept/);
    assert.deepEqual(readdirSync(folder), ["fairlead-data"]);
  });

  test("without classic-level, every command on a data folder fails, and says what to install", async () => {
    const folder = project("node");
    const old = mkdtempSync(join(inject("folder"), "old-"));
    for (const args of [
      ["serve", "--data", "x"],
      ["check", old],
      ["backup", old, "x"],
      ["restore", old, "x"],
    ]) {
      const says =
        /^.* ended with 1:\nfairlead: a data folder needs .* not installed: npm install classic-level@3\n$/;
      await assert.rejects(run(folder, "node_modules/.bin/fairlead", ...args), { message: says });
    }
    assert.ok(!existsSync(join(folder, "x")));
    const there = join(folder, "fairlead-data");
    mkdirSync(there);
    try {
      const refused =
        /\.\/fairlead-data has data, .* not installed: npm install classic-level@3; .* --memory/;
      const serving = run(folder, "node_modules/.bin/fairlead", "serve", "--port", "0");
      await assert.rejects(serving, { message: refused });
    } finally {
      rmdirSync(there);
    }
  });

  test("with classic-level, fairlead serve keeps its data in ./fairlead-data", async () => {
    const folder = project("disk", "classic-level@3");
    const first = await serve(folder, "node_modules/.bin/fairlead");
    assert.match(first.banner, /engine: disk, in fairlead-data$/);
    assert.doesNotMatch(first.errors(), /nothing is kept/);
    const put =
      'const { createClient } = await import("fairlead"); const { createNodeTransport } = await import("fairlead/node");';
    const call = async (code: string, url: string) => {
      const client = `${put} const transport = createNodeTransport(${JSON.stringify(url)}); const map = createClient(transport).map("m");`;
      const end = "await transport[Symbol.asyncDispose]();";
      const program = `${client} ${code} ${end}`;
      return (await run(folder, process.execPath, "--input-type=module", "-e", program)).trim();
    };
    await call('await map.put("k", "kept");', first.url);
    assert.equal(await first.stop(), 0);
    const second = await serve(folder, "node_modules/.bin/fairlead");
    assert.equal(await call('console.log((await map.get("k")).value);', second.url), "kept");
    assert.equal(await second.stop(), 0);
    await run(folder, "node_modules/.bin/fairlead", "check", "fairlead-data");
  });

  test("Node runs every entry against fairlead serve", async () => {
    const printed = await run(project("node"), process.execPath, "try-node.js", server.url);
    assert.deepEqual(JSON.parse(printed), SEEN);
  });

  test("npx fairlead prints its version and runs the tour", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    assert.equal((await run(project("node"), "npx", "fairlead", "--version")).trim(), version);
    await run(project("node"), "npx", "fairlead", "tour");
  });

  test("Vite builds a page that works, in chunks that load on demand", async () => {
    const folder = project("node");
    await viteBuild({ root: folder, configFile: false, logLevel: "warn", build: { modulePreload: false } });
    const assets = join(folder, "dist/assets");
    const entry = readdirSync(assets).find((file) => /^index-.*\.js$/.test(file));
    assert.ok(entry && readdirSync(assets).length > 1);
    assert.deepEqual(await runPage(folder, join(assets, entry)), SEEN);
  });

  test.each([false, true])("esbuild bundles for browsers, splitting: %s", async (splitting) => {
    const folder = project("node");
    const outdir = join(folder, splitting ? "split" : "whole");
    const { warnings } = await esbuild({
      absWorkingDir: folder,
      entryPoints: ["try-page.js"],
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      splitting,
      outdir,
    });
    assert.deepEqual(warnings, []);
    writeFileSync(join(outdir, "package.json"), '{"type":"module"}');
    assert.equal(readdirSync(outdir).length > 2, splitting);
    assert.deepEqual(await runPage(folder, join(outdir, "try-page.js")), SEEN);
  });

  const STRICT = {
    strict: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
    target: "ES2022",
  };
  const ISOMORPHIC = {
    types: [],
    lib: ["ES2022", "DOM", "DOM.Iterable"],
  };
  /** The options of `npm create vite@latest -- --template vanilla-ts`, with the check of libraries too. */
  const VITE = {
    useDefineForClassFields: true,
    module: "ESNext",
    moduleResolution: "bundler",
    allowImportingTsExtensions: true,
    verbatimModuleSyntax: true,
    moduleDetection: "force",
    erasableSyntaxOnly: true,
  };
  const SETTINGS = {
    "Vite's template": VITE,
    Node16: { module: "Node16", moduleResolution: "Node16" },
    NodeNext: { module: "NodeNext" },
    Bundler: { module: "ESNext", moduleResolution: "Bundler" },
    verbatimModuleSyntax: { module: "NodeNext", verbatimModuleSyntax: true, isolatedModules: true },
    exactOptionalPropertyTypes: { module: "NodeNext", exactOptionalPropertyTypes: true },
    Preserve: { module: "Preserve", noPropertyAccessFromIndexSignature: true, noImplicitOverride: true },
  };
  const OLD = {
    "Vite's template": VITE,
    Node16: SETTINGS.Node16,
    NodeNext: { ...SETTINGS.verbatimModuleSyntax, ...SETTINGS.exactOptionalPropertyTypes },
    Bundler: SETTINGS.Bundler,
  };

  describe.each([
    ["TypeScript 5", "node_modules/.bin/tsc", OLD],
    ["TypeScript 7", bin("tsc"), SETTINGS],
  ])("%s, strict", (name, tsc, settings) => {
    test.concurrent.each(Object.entries(settings))("%s", async (setting, compilerOptions) => {
      const folder = project("typescript", "typescript@5.9", "@types/node@20");
      const options = { ...STRICT, ...compilerOptions };
      const projects = {
        node: {
          compilerOptions: { ...options, types: ["node"] },
          files: ["../../node.ts", "../../isomorphic.ts"],
        },
        isomorphic: { compilerOptions: { ...options, ...ISOMORPHIC }, files: ["../../isomorphic.ts"] },
      };
      const place = join(folder, name.replace(" ", "-"), setting);
      mkdirSync(place, { recursive: true });
      for (const [file, content] of Object.entries(projects)) {
        const path = join(place, `tsconfig.${file}.json`);
        writeFileSync(path, JSON.stringify(content));
        await run(folder, tsc, "-p", path);
      }
    });
  });

  describe("docs/using-the-package.md", () => {
    const GREETS = `const fl = createClient(inProcess()); console.log((await fl.hello().say("Ada")));`;

    test("CommonJS loads it by require()", async () => {
      const code = `const { createClient } = require("fairlead"); const { inProcess } = require("fairlead/server");
        (async () => { ${GREETS} })();`;
      const folder = project("node");
      writeFileSync(join(folder, "require.cjs"), code);
      assert.match(await run(folder, process.execPath, "require.cjs"), /Hello, Ada/);
    });

    test.concurrent.each([
      ["a CommonJS file under node16 is refused", "TS1479", { module: "Node16" }],
      ["a CommonJS file under nodenext is not", "", { module: "NodeNext" }],
      ["node10 finds no entries", "TS2307", { module: "CommonJS", moduleResolution: "node10" }],
    ])("TypeScript: %s", async (name, code, compilerOptions) => {
      const folder = project("typescript", "typescript@5.9", "@types/node@20");
      const place = join(folder, name.replaceAll(" ", "-"));
      mkdirSync(place, { recursive: true });
      writeFileSync(
        join(place, "a.cts"),
        'import { createWebTransport } from "fairlead/web"; createWebTransport("/");',
      );
      const options = { ...STRICT, ...ISOMORPHIC, ...compilerOptions };
      writeFileSync(
        join(place, "tsconfig.json"),
        JSON.stringify({ compilerOptions: options, files: ["a.cts"] }),
      );
      const checking = run(folder, "node_modules/.bin/tsc", "-p", place);
      if (code === "") await checking;
      else await assert.rejects(checking, { message: new RegExp(code) });
    });

    test("jest runs it with its support for modules", async () => {
      const folder = project("jest", "jest@30");
      const code = `import { createClient } from "fairlead"; import { inProcess } from "fairlead/server";
        test("greets", async () => {
          const fl = createClient(inProcess());
          expect(await fl.hello().say("Ada")).toBe("Hello, Ada");
        });`;
      writeFileSync(join(folder, "greets.test.mjs"), code);
      const config = JSON.stringify({ testMatch: ["**/*.test.mjs"], transform: {} });
      await run(
        folder,
        process.execPath,
        "--experimental-vm-modules",
        "node_modules/jest/bin/jest.js",
        "--config",
        config,
      );
    });
  });
});
