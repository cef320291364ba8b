import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, createRouterTransport, type Interceptor } from "@connectrpc/connect";
import { afterEach, test, vi } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { conformanceCommand } from "../../src/cli/conformance.js";
import { openMirror } from "../../src/cli/mirror.js";
import type { Case } from "../../src/conformance/case.js";
import { withConformance } from "../../src/conformance/components.js";
import { differentValue, errorWithCode } from "../../src/conformance/expectation.js";
import { LAYOTTO } from "../../src/conformance/layotto.js";
import { applyProfile, type Deviation, type Profile } from "../../src/conformance/profile.js";
import { countResults, hasPassed } from "../../src/conformance/report.js";
import { RULES } from "../../src/conformance/rules.js";
import { run } from "../../src/conformance/run.js";
import { missingStores } from "../../src/conformance/store-check.js";
import { cases } from "../../src/conformance/suite.js";
import { openTarget } from "../../src/conformance/target.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { until } from "../support/until.js";

afterEach(() => void vi.restoreAllMocks());

/** Runs the command, and gives its status and what it wrote. */
async function command(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const told = { out: "", err: "" };
  const to = (name: "out" | "err") => (text: unknown) => {
    told[name] += String(text);
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(to("out"));
  vi.spyOn(process.stderr, "write").mockImplementation(to("err"));
  try {
    return { status: await conformanceCommand(args), ...told };
  } finally {
    vi.restoreAllMocks();
  }
}

/** A server that greets in another way than it has to. */
const rude: Interceptor = (next) => async (request) => {
  const response = await next(request);
  if (request.method.name === "SayHello" && !response.stream) {
    const message = response.message as { hello?: string };
    if (message.hello) message.hello = `${message.hello} <&> you`;
  }
  return response;
};

async function open(interceptors: Interceptor[] = []) {
  return listen(createServer({ platform: nodePlatform, interceptors }), { port: 0 });
}

test("a server that holds gives status 0, a table for each protocol, and why cases were skipped", async () => {
  await using at = await open();
  const { status, out, err } = await command(at.url, "--protocol", "all", "--primitive", "hello,secrets");
  assert.equal(status, 0, out);
  for (const way of ["connect", "grpc", "grpc-web", "tunnel"])
    assert.match(out, new RegExp(`^  ${way}, `, "m"));
  assert.match(out, /^ {2}hello +12 +- +- +-$/m);
  assert.match(out, /7 × the configuration has no secret that the suite may read \(`secret`\)/);
  assert.match(err, /start the server by\n {2}fairlead serve --conformance/);
});

test("what does not hold gives status 1, with its rule, expected and got, request and answer", async () => {
  await using at = await open([rude]);
  const { status, out } = await command(at.url, "--primitive", "hello");
  assert.equal(status, 1);
  assert.match(out, /FAILED hello: hello is the greeting and the name "Ada"\n {4}rule: SayHello/);
  assert.match(out, /expected "Hello, Ada", got "Hello, Ada <&> you"/);
  assert.match(out, /Runtime\/SayHello\n.*"name":"Ada"/);
});

test("what cannot be run gives status 2, and says why", async () => {
  for (const [args, why] of [
    [["ftp://x"], /must begin with http:\/\/ or https:\/\/, got "ftp:\/\/x"/],
    [["http://127.0.0.1:1"], /no server answers at "http:\/\/127\.0\.0\.1:1": nothing listens there/],
    [["http://x", "http://y"], /one argument too many/],
    [["--config", "x.json"], /--config needs a URL/],
    [["--protocol", "grpc", "--http-version", "1.1"], /gRPC needs HTTP\/2/],
    [["http://x", "--http-version", "3"], /--http-version must be one of 1\.1, 2, all, got "3"/],
    [["http://x", "--protocol", "gprc"], /did you mean grpc\?/],
    [["http://x", "--protocl", "grpc"], /unknown option "--protocl": did you mean --protocol\?/],
    [["--serve", "--port", "65536"], /--port must be a number from 0 to 65535, got "65536"/],
    [["--serve", "http://x"], /one argument too many: "http:\/\/x"/],
    [["http://x", "--protocol", "smtp"], /--protocol must be one of connect, grpc, grpc-web, tunnel, all/],
    [["http://x", "--primitive", "states"], /--primitive must be one of state, lock,.*did you mean state\?/],
    [["http://x", "--profile", "dapr"], /--profile must be one of fairlead, layotto/],
    [["http://x", "--report", "pdf"], /--report must be one of text, junit, json, html, tap/],
    [
      ["http://x", "--config", "/no/such.json"],
      /Cannot read the configuration "\/no\/such\.json": there is no such/,
    ],
  ] as const) {
    const { status, err } = await command(...args);
    assert.equal(status, 2, args.join(" "));
    assert.match(err, why);
  }
});

test("a configuration names the stores, and a wrong one is refused by its place", async () => {
  const folder = await mkdtemp(join(tmpdir(), "conformance-"));
  try {
    const file = join(folder, "names.json");
    await using at = await listen(
      createServer({
        platform: nodePlatform,
        config: {
          secrets: { vault: { type: "values", values: { db: "s3cr3t" } } },
          hello: { hi: { greeting: "Hi" } },
        },
      }),
      { port: 0 },
    );
    const secret = { store: "vault", key: "db", value: "s3cr3t" };
    const stores = { hello: { name: "hi", greeting: "Hi" }, secret };
    await writeFile(file, `{ "stores": ${JSON.stringify(stores)}, /* a comment */ }`);
    const { status, out } = await command(at.url, "--config", file, "--primitive", "hello,secrets");
    assert.equal(status, 0, out);
    assert.match(out, /^ {2}secrets +8 +- +- +-$/m);
    await writeFile(file, '{ "stores": { "sate": "default" } }');
    const wrong = await command(at.url, "--config", file);
    assert.equal(wrong.status, 2);
    assert.match(wrong.err, /stores: .*"sate".*, did you mean "state"\?/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("mirrorPort brings the app that a service and a binding lead to", async () => {
  const folder = await mkdtemp(join(tmpdir(), "conformance-"));
  try {
    const { url, close } = await openMirror(0);
    await using at = await listen(
      createServer({
        platform: nodePlatform,
        config: { services: { mirror: { url } } },
      }),
      { port: 0 },
    );
    // Only now, or the server could be given its port.
    await close();
    const file = join(folder, "names.json");
    const stores = { mirror: { service: "mirror", binding: "mirror" } };
    const args = [at.url, "--config", file, "--primitive", "invocation"];
    await writeFile(file, JSON.stringify({ stores, mirrorPort: Number(new URL(url).port) }));
    const { status, out } = await command(...args);
    assert.equal(status, 0, out);
    assert.match(out, /^ {2}service +7\d +- +- +-$/m);
    await writeFile(file, JSON.stringify({ stores }));
    const without = await command(...args);
    assert.equal(without.status, 1, "nothing listens there any more");
    await writeFile(file, JSON.stringify({ stores, mirrorPort: 70_000 }));
    const wrong = await command(...args);
    assert.deepEqual([wrong.status, /mirrorPort: /.test(wrong.err)], [2, true], wrong.err);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("without a URL every case of the suite runs, on a server of its own", async () => {
  const primitives = ["--primitive", "hello,lock,secrets,lifecycle,bindings"];
  const { status, out, err } = await command(...primitives);
  assert.deepEqual([status, err], [0, ""], out);
  assert.doesNotMatch(out, /skipped\n {4}/);
  const { length } = cases.filter(({ primitive }) => primitives[1]?.split(",").includes(primitive));
  assert.match(out, new RegExp(`^  all +${length} +- +- +-$`, "m"));
});

test("on fairlead serve --conformance every case runs by its URL alone, over HTTP/1.1 too", async () => {
  const mirror = await openMirror(0);
  await using at = await listen(
    createServer({ platform: nodePlatform, config: withConformance({ state: { mine: {} } }, mirror.url) }),
    { port: 0 },
  );
  const args = [at.url, "--primitive", "hello,secrets,configuration", "--no-wait", "--http-version", "all"];
  const { status, out } = await command(...args, "--protocol", "grpc-web");
  await mirror.close();
  assert.equal(status, 0, out);
  assert.match(out, /^ {2}grpc-web, [\s\S]*^ {2}configuration +41 +- +- +-$/m);
  assert.match(out, /^ {2}grpc-web over HTTP\/1\.1, [\s\S]*^ {2}configuration +20 +- +- +21$/m);
  assert.match(out, /skipped\n {4}21 × this transport carries no bidirectional streams\n/);
});

/** A profile on which SayHello is known to be rude, and what a case that is about it makes of it. */
const rudeness: Deviation = {
  primitive: "hello",
  reason: "it is rude",
  expected: [differentValue("a longer greeting", (actual) => /<&> you$/.test(String(actual)))],
};

/** The cases of hello against a server with these interceptors, under a profile. */
async function judgedHello(interceptors: Interceptor[], profile: Profile) {
  await using server = createServer({ interceptors });
  const target = await openTarget({ transport: server.transport() });
  return await run(
    target,
    cases.filter(({ primitive }) => primitive === "hello"),
    { profile },
  );
}

const failing =
  (code: Code): Interceptor =>
  () =>
  async () => {
    throw new ConnectError("expected by no one", code);
  };

test("a deviation explains the outcome that it expects, and nothing else", async () => {
  const profile = { name: "rude", deviations: [rudeness] };
  const rudely = await judgedHello([rude], profile);
  const { deviates, failed } = countResults(rudely.results);
  assert.deepEqual([deviates, failed], [4, 0]);
  assert.deepEqual(rudely.unseenDeviations, []);
  const other: Interceptor = (next) => async (request) => {
    const response = await next(request);
    if (!response.stream) (response.message as { hello?: string }).hello = "Ada";
    return response;
  };
  assert.equal(countResults((await judgedHello([other], profile)).results).deviates, 0);
  const broken = await judgedHello([failing(Code.Internal)], profile);
  assert.deepEqual(countResults(broken.results), { passed: 0, failed: 12, deviates: 0, skipped: 0 });
  assert.deepEqual((await judgedHello([], profile)).unseenDeviations, [rudeness]);
});

test("unavailable is no expected outcome, and layotto explains no failure by it", async () => {
  assert.throws(() => errorWithCode(Code.Internal, Code.Unavailable), /unavailable is no expected outcome/);
  const lost = new ConnectError("connection refused", Code.Unavailable);
  for (const one of cases) {
    const outcome = { status: "failed", ms: 1, error: lost, calls: [] } as const;
    assert.equal(applyProfile(one, outcome, LAYOTTO).deviation, undefined, one.name);
  }
});

test("every deviation of layotto has an outcome, is about some case, and each primitive of it has a floor", () => {
  for (const deviation of LAYOTTO.deviations) {
    assert.ok(deviation.expected.length > 0, deviation.reason);
    const outcome = { status: "failed", ms: 1, error: new TypeError("x"), calls: [] } as const;
    const { primitive, rule, name = /./ } = deviation;
    const about = cases.filter((one) => one.primitive === primitive && name.test(one.name));
    assert.ok(about.length > 0, deviation.reason);
    assert.ok(!rule || rule.startsWith("reference") || RULES.includes(rule as never));
    assert.ok((LAYOTTO.floors?.[primitive] ?? 0) > 0, primitive);
    const unknown = applyProfile(
      { ...(about[0] as Case), run: async () => {} },
      { ...outcome, error: new Error("x") },
      LAYOTTO,
    );
    assert.equal(unknown.deviation, undefined);
  }
});

test("too few cases that pass are a failure, however well the others are explained", async () => {
  const profile = { name: "rude", deviations: [rudeness], floors: { hello: 0.9 } };
  const report = await judgedHello([rude], profile);
  assert.deepEqual(report.shortfalls, [{ primitive: "hello", passed: 8, floor: 10, ran: 12 }]);
  assert.equal(hasPassed(report), false);
  assert.equal(hasPassed(await judgedHello([rude], { ...profile, floors: { hello: 0.5 } })), true);
});

test("a server that goes away half way ends the run with status 2, whatever the profile", async () => {
  let calls = 0;
  const interceptors: Interceptor[] = [
    (next) => async (request) => {
      if (++calls === 40) setImmediate(() => at.close());
      return next(request);
    },
  ];
  const server = createServer({ platform: nodePlatform, interceptors });
  const at = await listen(server, { port: 0, graceMs: 0 });
  const primitives = ["--primitive", "hello,state,lock,sequencer"];
  const { status, out } = await command(at.url, ...primitives, "--profile", "layotto");
  assert.equal(status, 2, out);
  assert.match(out, /ENDED EARLY: the server went away, after \d+ of \d+ cases: \[unavailable\]/);
  assert.doesNotMatch(out, /FAILED/);
});

test("stores that the server does not have are a configuration error: status 2, not deviations", async () => {
  const folder = await mkdtemp(join(tmpdir(), "conformance-"));
  try {
    await using at = await open();
    const file = join(folder, "names.json");
    const nope = "no-such";
    const others = { state: nope, lock: nope, sequencer: nope, configuration: nope };
    const names = {
      state: nope,
      lock: nope,
      sequencer: nope,
      pubsub: nope,
      files: nope,
      configuration: nope,
    };
    const hello = { name: nope, greeting: "Hello" };
    const secret = { store: nope, key: "k", value: "v" };
    await writeFile(file, JSON.stringify({ stores: { ...names, others, hello, secret } }));
    const { status, out, err } = await command(at.url, "--config", file, "--profile", "layotto");
    assert.deepEqual([status, out], [2, ""]);
    const kinds = [
      "state store",
      "lock store",
      "sequencer store",
      "pubsub",
      "file store",
      "configuration store",
    ];
    for (const kind of [...kinds, "hello", "secret store"])
      assert.ok(err.includes(`no ${kind} "no-such"`), err);
    const few = await command(at.url, "--config", file, "--primitive", "log");
    assert.equal(few.status, 0, few.out);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("how the Go runtime says that it has no store is understood", async () => {
  const texts: Record<string, [Code, string]> = {
    getState: [Code.InvalidArgument, "state store no-such is not found"],
    unlock: [Code.FailedPrecondition, "lock store is not configured"],
    getNextId: [Code.InvalidArgument, "Sequencer store no-such not found"],
    publishEvent: [Code.InvalidArgument, "pubsub no-such not found"],
    listFile: [Code.InvalidArgument, "not support store type: no-such"],
    getConfiguration: [Code.Unknown, "configure store [no-such] don't support now"],
    sayHello: [Code.Unknown, "no instance found"],
    getSecret: [Code.InvalidArgument, "error when get secret but not find : no-such"],
  };
  const fail = Object.entries(texts).map(([name, [code, text]]) => [
    name,
    () => {
      throw new ConnectError(text, code);
    },
  ]);
  const transport = createRouterTransport(({ service }) => service(Runtime, Object.fromEntries(fail)));
  const s = "no-such";
  const stores = { state: s, lock: s, sequencer: s, pubsub: s, files: s, configuration: s };
  const hello = { name: s, greeting: "" };
  const secret = { store: s, key: "k", value: "" };
  const all = new Set(cases.map(({ primitive }) => primitive));
  assert.equal((await missingStores(transport, { ...stores, hello, secret }, all)).length, 8);
});

test("reports: JSON, TAP, JUnit and HTML tell the same, to a file where one is named", async () => {
  const folder = await mkdtemp(join(tmpdir(), "conformance-"));
  try {
    await using at = await open([rude]);
    const report = async (kind: string) => {
      const output = join(folder, kind);
      const { status, err } = await command(
        at.url,
        "--primitive",
        "hello",
        "--report",
        kind,
        "--output",
        output,
      );
      assert.equal(status, 1);
      assert.match(err, /FAILED hello/);
      return readFile(output, "utf8");
    };
    const json = JSON.parse(await report("json")) as {
      runs: { failed: number; passed: number; cases: object[] }[];
    };
    const [run] = json.runs;
    assert.equal(run?.cases.length, 12);
    const failed = run?.failed ?? 0;
    assert.ok(failed > 0);
    const tap = await report("tap");
    assert.match(tap, /^TAP version 14\n1\.\.12\n/);
    assert.equal(tap.match(/^not ok /gm)?.length, failed);
    assert.equal(tap.match(/^ok /gm)?.length, run?.passed);
    const junit = await report("junit");
    assert.equal(junit.match(/<failure /g)?.length, failed);
    assert.match(junit, /Ada &lt;&amp;&gt; you/);
    assert.doesNotMatch(junit, /<&>/);
    const html = await report("html");
    assert.equal(html.match(/<summary class="failed">/g)?.length, failed);
    assert.doesNotMatch(html, /<&>/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.each([
  [{ value: null }, 0, /^ {2}state +1 +- +\d+$/m],
  [
    { value: { text: "", etag: "" } },
    1,
    /MISHANDLED state-missing: .*\n.*\n.*\n.*what was reported: expected null, got/,
  ],
  [undefined, 2, /^ {2}all +- +- +\d+$/m],
])("--serve judges a client that reports %j by status %i", async (seen, expected, table) => {
  const told = { out: "", err: "" };
  vi.spyOn(process.stdout, "write").mockImplementation((text) => (told.out += String(text)) !== "");
  vi.spyOn(process.stderr, "write").mockImplementation((text) => (told.err += String(text)) !== "");
  const ended = conformanceCommand(["--serve", "--port", "0"]);
  await until(() => told.err.includes("/scenarios"));
  const [url] = told.err.match(/http:\/\/[\d.:]+/) ?? [];
  const post = (path: string, body?: object) =>
    fetch(`${url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body ?? {}),
    });
  if (seen) {
    await post("/spec.proto.runtime.v1.Runtime/GetState", { storeName: "state-missing", key: "k" });
    assert.equal((await post("/scenarios/state-missing", seen)).status, 200);
    assert.equal((await post("/scenarios/no-such", seen)).status, 404);
    assert.equal((await post("/scenarios/state-missing", [])).status, 400);
    const report = (await (await fetch(`${url}/report`)).json()) as { id: string; status: string }[];
    const status = expected === 0 ? "handled" : "mishandled";
    assert.equal(report.find(({ id }) => id === "state-missing")?.status, status);
  }
  assert.equal((await post("/done")).status, 204);
  assert.equal(await ended, expected);
  assert.match(told.out, table);
});
