import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import { afterEach, expect, test, vi } from "vitest";
import { configCommand } from "../../src/cli/config.js";
import { readConfigFile } from "../../src/cli/config-file.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { ConfigError, configJsonSchema, createServer, parseConfig } from "../../src/server/index.js";

const root = join(import.meta.dirname, "../..");

/** The problems of `input`, one per line. */
function problems(input: unknown): string[] {
  try {
    parseConfig(input, { engines: ["memory", "disk"] });
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ message }) => message);
  }
  return [];
}

/** Calls `use` with the path of a components file that has this text. */
async function withFile<T>(text: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  try {
    const path = join(folder, "fairlead.json");
    await writeFile(path, text);
    return await use(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The problems of the file, each from its line number on. */
const refusal = (text: string): Promise<string[]> =>
  withFile(text, async (path) => {
    const error = await readConfigFile(path).then(
      () => assert.fail("it was taken"),
      (error: Error) => error,
    );
    const [title, ...lines] = error.message.split("\n");
    assert.equal(title, "Cannot use the components file:");
    return lines.map((line) => {
      assert.ok(line.startsWith(`${path}:`), line);
      return line.slice(path.length + 1);
    });
  });

/** What the command prints, and its status. */
async function run(...args: string[]): Promise<{ status: number; printed: string }> {
  let printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  return { status: await configCommand(args), printed };
}

afterEach(() => vi.restoreAllMocks());

test("fairlead.schema.json is up to date: `npm run generate` writes it", async () => {
  const text = await readFile(join(root, "fairlead.schema.json"), "utf8");
  assert.deepEqual(JSON.parse(text), configJsonSchema());
});

test("the JSON Schema has a description and a default for every field", () => {
  const undescribed: string[] = [];
  type Schema = { description?: string; properties?: Record<string, Schema>; additionalProperties?: Schema };
  const look = (schema: Schema & { oneOf?: Schema[] }, path: string) => {
    for (const [name, field] of Object.entries(schema.properties ?? {})) {
      if (!field.description) undescribed.push(`${path}.${name}`);
      look(field, `${path}.${name}`);
    }
    for (const option of schema.oneOf ?? []) look(option, path);
    if (typeof schema.additionalProperties === "object") look(schema.additionalProperties, `${path}.*`);
  };
  const schema = configJsonSchema() as Schema;
  look(schema, "");
  assert.deepEqual(undescribed, []);
  const { limits, sequencer } = schema.properties as Record<string, Schema>;
  expect(limits?.properties?.["keyBytes"]).toMatchObject({
    type: "integer",
    default: 1024,
    exclusiveMinimum: 0,
  });
  expect(sequencer?.additionalProperties?.properties?.["biggerThan"]?.additionalProperties).toMatchObject({
    type: "integer",
    minimum: 0,
  });
  assert.ok(!JSON.stringify(schema).includes('"required":["default'), "what has a default is not required");
});

test("parseConfig() names every problem: the field, its value and the expected value", () => {
  const wrong = {
    appId: "",
    state: { a: { engine: "redis" }, b: 5 },
    sequencer: { d: { segment: true, biggerThan: { a: 1.5, b: -1, c: "12" } } },
    pubsub: { p: { maxDeliveries: 0, retryMinMs: null }, q: { maxDeliveries: "3", retryMaxMs: "10" } },
    maps: { "a/b": { term: "2", primary: "http://p/?x" } },
    secrets: { v: { type: "vault" }, e: { type: "env", alow: [] }, m: { type: "env", allow: ["A*B"] } },
    services: { s: {}, t: { url: "ftp://x" }, f: { url: "http://x/#y" } },
    apps: { a: { url: "http://a", protocol: "soap" } },
    logs: { "": {} },
    limits: { keyByte: 1 },
    engines: { redis: {} },
    hello: { h: { colour: "red" } },
  };
  assert.deepEqual(problems(wrong).sort(), [
    'appId "": must not be empty',
    'apps.a.protocol "soap": must be "grpc", "grpc-web" or "connect"',
    "engines.redis: is not known; those that are: memory, disk, jetstream",
    "hello.h.colour: is not known; those that are: greeting",
    'limits.keyByte: is not known, did you mean "keyBytes"?',
    'logs[""]: must have 1 to 255 characters, and no control characters',
    'maps["a/b"].primary "http://p/?x": must not have a query (?)',
    'maps["a/b"].term "2": must be a whole number',
    "pubsub.p.maxDeliveries 0: must be above 0",
    "pubsub.p.retryMinMs null: must be a number of milliseconds",
    'pubsub.q.maxDeliveries "3": must be a number',
    'pubsub.q.retryMaxMs "10": must be a number of milliseconds',
    "secrets.e.allow: is missing: must be a list",
    'secrets.e.alow: is not known, did you mean "allow"?',
    'secrets.m.allow[0] "A*B": must be the name of a variable, with * at its end at most',
    'secrets.v.type "vault": must be "env", "file" or "values"',
    "sequencer.d.biggerThan.a 1.5: must be a whole number",
    "sequencer.d.biggerThan.b -1: must not be below 0",
    "sequencer.d.segment true: must be a number",
    'services.f.url "http://x/#y": must not have a fragment (#)',
    "services.s.url: is missing: must be an http or https URL",
    'services.t.url "ftp://x": must be an http or https URL',
    'state.a.engine "redis": must be "memory" or "disk"',
    "state.b 5: must be an object",
  ]);
  assert.deepEqual(problems([]), ["the configuration: must be an object"]);
});

test("an error never shows a value that may be a secret", () => {
  const secrets = { v: { type: "values", values: { key: 12345 } } };
  const services = { s: { url: "http://me:swordfish@host" } };
  assert.deepEqual(problems({ secrets, services }), [
    "secrets.v.values.key: must be a text",
    "services.s.url: must not contain a user or a password",
  ]);
});

test("a wrong file is refused with the position of each problem, in the order of the file", async () => {
  const lines = await refusal(`{
  // The field that editors read.
  "$schema": "./node_modules/fairlead/fairlead.schema.json",
  "stat": {},
  "services": {
    "inventory": { },
    "odd.name": { "url": "here" },
  },
  "limits": { "keyBytes": -1,
              "keyBytes": 10 }
}`);
  assert.deepEqual(lines, [
    '4:3: stat: is not known, did you mean "state"?',
    "6:18: services.inventory.url: is missing: must be an http or https URL",
    '7:26: services["odd.name"].url "here": must be an http or https URL',
    '10:15: "keyBytes" is defined twice',
  ]);
});

test("a file that is not JSON is refused with the position of each mistake", async () => {
  assert.deepEqual(await refusal('{\r\n  "state": {}\r\n  "lock" {}\r\n}'), [
    "3:3: not JSON: comma expected",
  ]);
  assert.deepEqual(await refusal('{\n  "a": nul,\n  "b": "x'), [
    "2:8: not JSON: invalid symbol",
    "3:8: not JSON: unexpected end of string",
  ]);
  assert.deepEqual(await refusal(""), ["1:1: not JSON: value expected"]);
});

test("a missing file is reported as missing", async () => {
  const there = readConfigFile("/nowhere/fairlead.json");
  await assert.rejects(there, {
    message: 'Cannot read the components file "/nowhere/fairlead.json": there is no such file or folder',
  });
});

test("comments, trailing commas, a byte order mark and any name for a store are accepted", async () => {
  const read = await withFile('\ufeff{ "state": { "__proto__": {}, }, /* no more */ }', readConfigFile);
  assert.deepEqual(Object.keys(read.input.state ?? {}), ["__proto__"]);
});

test("`fairlead config check` prints the configuration without secrets", async () => {
  const text = `{
    "state": { "carts": { "engine": "memory" } },
    "secrets": { "demo": { "type": "values", "values": { "key": "swordfish" } } },
    "access": { "tokens": [{ "token": "open-sesame-open-sesame", "subject": "me", "roles": ["all"] }], "roles": { "all": [] } },
    "limits": { "keyBytes": 99 },
    "engines": { "memory": { "maxTopics": 7 } }
  }`;
  const { status, printed } = await withFile(text, (path) => run("check", path));
  assert.equal(status, 0);
  assert.match(printed, /^state +carts +memory$/m);
  assert.match(printed, /^secrets +demo +type: values, values: 1$/m);
  assert.match(printed, /^limits +keyBytes +99$/m);
  assert.match(printed, /^engines +maxTopics +memory +7$/m);
  assert.match(printed, /^access +tokens +1$/m);
  assert.match(printed, /^access +roles +all$/m);
  assert.doesNotMatch(printed, /swordfish|sesame/);
});

test("missing environment variables and files are reported with the position of their reference", async () => {
  vi.stubEnv("FAIRLEAD_TEST_SHORT", "x");
  vi.stubEnv("FAIRLEAD_TEST_TOKEN", "open-sesame-open-sesame");
  const lines = await refusal(`{
  "access": { "roles": { "all": [] }, "tokens": [
    { "tokenEnv": "FAIRLEAD_TEST_UNSET", "subject": "a", "roles": ["all"] },
    { "tokenEnv": "FAIRLEAD_TEST_TOKEN", "subject": "b", "roles": ["all"] }
  ] },
  "apps": { "a": { "url": "http://127.0.0.1:1", "tokenEnv": "FAIRLEAD_TEST_UNSET" } },
  "maps": { "x/y": { "tokenEnv": "FAIRLEAD_TEST_SHORT" } },
  "secrets": {
    "gone": { "type": "file", "path": "/no/such/secrets.json" },
    "folder": { "type": "file", "path": "/tmp" },
    "text": { "type": "file", "path": ${JSON.stringify(import.meta.filename)} }
  }
}`);
  vi.unstubAllEnvs();
  assert.deepEqual(lines, [
    '3:19: access.tokens[0].tokenEnv "FAIRLEAD_TEST_UNSET": this environment variable is not set',
    '6:61: apps.a.tokenEnv "FAIRLEAD_TEST_UNSET": this environment variable is not set',
    '7:34: maps["x/y"].tokenEnv "FAIRLEAD_TEST_SHORT": this environment variable must have at least 16 characters',
    '9:39: secrets.gone.path "/no/such/secrets.json": there is no such file',
    '10:41: secrets.folder.path "/tmp": is a folder, not a file',
    `11:39: secrets.text.path ${JSON.stringify(import.meta.filename)}: this file is not a JSON object`,
  ]);
});

test("`fairlead config check` warns of an allowed variable that is not set, and checks the files of TLS", async () => {
  const text =
    '{ "secrets": { "s": { "type": "env", "allow": ["FAIRLEAD_TEST_UNSET", "FAIRLEAD_TEST_*"] } } }';
  await withFile(text, async (path) => {
    const { status, printed } = await run("check", path);
    assert.equal(status, 0);
    assert.match(
      printed,
      /warnings\n.*:1:48: secrets\.s\.allow\[0\] "FAIRLEAD_TEST_UNSET": .* is not set\n$/,
    );
    const pair = (key: string, cert: string) => run("check", path, "--tls-key", key, "--tls-cert", cert);
    const at = (name: string) => join(import.meta.dirname, "../support/certificates", name);
    assert.equal((await pair(at("server.key"), at("server.pem"))).status, 0);
    await assert.rejects(
      pair(at("server.key"), "/no/such"),
      /--tls-cert "\/no\/such": there is no such file/,
    );
    await assert.rejects(pair(at("server.key"), at("server.key")), /are not a PEM key and its certificate/);
  });
});

test("`fairlead config schema` prints the schema, and other arguments print the usage", async () => {
  const { status, printed } = await run("schema");
  assert.equal(status, 0);
  assert.equal(printed, await readFile(join(root, "fairlead.schema.json"), "utf8"));
  await assert.rejects(run("chekc"), /unknown subcommand "chekc": did you mean check\?/);
});

test("`fairlead serve` uses ./fairlead.json and says so, and does not start with a wrong one", async () => {
  const outfile = join(import.meta.dirname, `.tmp/serve-${process.pid}.mjs`);
  const entryPoints = [join(root, "src/cli/main.ts")];
  const shape = { bundle: true, platform: "node", format: "esm", packages: "external" } as const;
  await build({ entryPoints, outfile, target: "es2022", ...shape });
  const serve = async (cwd: string) => {
    const child = spawn(process.execPath, [outfile, "serve", "--port", "0"], { cwd });
    let told = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text) => {
        told += text;
        // A second signal would end it before it has finished.
        if (/Try it/.test(told) && !child.killed) child.kill("SIGTERM");
      });
    }
    const [status] = await once(child, "close");
    return { status, told };
  };
  try {
    const right = await withFile('{ "state": { "carts": {} } }', (path) => serve(dirname(path)));
    assert.match(right.told, /Configured by fairlead\.json\n/);
    assert.match(right.told, /^ +state .* carts$/m);
    assert.equal(right.status, 0);
    const wrong = await withFile('{ "stat": {} }', (path) => serve(dirname(path)));
    assert.match(wrong.told, /^fairlead\.json:1:3: stat: is not known, did you mean "state"\?$/m);
    assert.equal(wrong.status, 1);
  } finally {
    await rm(outfile, { force: true });
  }
});

test("createServer() creates the configured engine; a given one must be the engine that components name", async () => {
  const config = { engines: { memory: { maxKeyBytes: 300 } } };
  await using server = createServer({ config });
  const tooMuch = server.engine.keys.commit([{ type: "set", key: "k", value: new Uint8Array(300) }]);
  await assert.rejects(tooMuch, { message: /memory engine/, limit: { name: "maxKeyBytes", most: 300 } });
  const engine = { ...memoryEngine(), name: "disk" };
  assert.throws(() => createServer({ engine, config: { state: { a: { engine: "memory" } } } }), {
    message:
      'Cannot use this configuration: state.a.engine "memory": must be "disk", the engine that this server was given',
  });
  createServer({ engine, config: { state: { a: {} } } });
});

test("components may name any engine that is given to the server", () => {
  const engine = { ...memoryEngine(), name: "redis" };
  const { config } = createServer({ engine, config: { state: { a: { engine: "redis" } } } });
  assert.deepEqual(config.state, { a: { engine: "redis" } });
  assert.deepEqual(parseConfig({ state: { a: { engine: "redis" } } }).state, config.state);
});
