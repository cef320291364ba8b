import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Interceptor } from "@connectrpc/connect";
import { afterEach, test, vi } from "vitest";
import { conformance } from "../src/cli/conformance.js";
import { openMirror } from "../src/cli/mirror.js";
import { listen, nodePlatform } from "../src/server/listen.js";
import { createServer } from "../src/server/server.js";
import { until } from "./until.js";

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
    return { status: await conformance(args), ...told };
  } finally {
    vi.restoreAllMocks();
  }
}

/** A server that greets in another way than it has to. */
const rude: Interceptor = (next) => async (request) => {
  const response = await next(request);
  if (request.method.name === "SayHello" && !response.stream) {
    const message = response.message as { hello?: string };
    message.hello = `${message.hello} <&> you`;
  }
  return response;
};

/** A server that echoes no data. */
const forgetful: Interceptor = (next) => async (request) => {
  const response = await next(request);
  if (request.method.name === "SayHello" && !response.stream)
    delete (response.message as { data?: object }).data;
  return response;
};

async function open(interceptors: Interceptor[] = []) {
  return listen(createServer({ platform: nodePlatform, interceptors }), { port: 0 });
}

test("a server that holds gives status 0, a table for each protocol, and why cases were skipped", async () => {
  await using at = await open();
  const { status, out } = await command(at.url, "--protocol", "all", "--primitive", "hello,secrets");
  assert.equal(status, 0, out);
  for (const way of ["connect", "grpc", "grpc-web", "tunnel"])
    assert.match(out, new RegExp(`^  ${way}, `, "m"));
  assert.match(out, /^ {2}hello +12 +- +- +-$/m);
  assert.match(out, /7 × the configuration names no secret that may be read \(`secret`\)/);
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
    [[], /one URL is needed/],
    [["ftp://x"], /one URL is needed/],
    [["http://127.0.0.1:1"], /./],
    [["--serve", "--port", "65536"], /--port must be a number from 0 to 65535, got "65536"/],
    [["--serve", "http://x"], /Unexpected argument 'http:\/\/x'/],
    [["http://x", "--protocol", "smtp"], /--protocol must be one of connect, grpc, grpc-web, tunnel, all/],
    [["http://x", "--primitive", "states"], /--primitive must be one of hello, state,/],
    [["http://x", "--profile", "dapr"], /--profile must be one of fairlead, layotto/],
    [["http://x", "--report", "pdf"], /--report must be one of text, junit, json, html, tap/],
    [["http://x", "--config", "/no/such.json"], /Cannot read the configuration "\/no\/such\.json"/],
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
    assert.deepEqual([wrong.status, /stores: .*"sate"/.test(wrong.err)], [2, true], wrong.err);
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
    assert.match(out, /^ {2}invocation +7\d +- +- +-$/m);
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

test("under the profile layotto a known deviation is listed with its reason, and counts as none; one that is gone is told", async () => {
  await using at = await open([rude]);
  const rudely = await command(at.url, "--primitive", "hello", "--profile", "layotto");
  assert.equal(rudely.status, 0, rudely.out);
  assert.match(rudely.out, /known deviations\n {4}\d+ × hello: the greeting is the component's own \(1\)/);
  await using forgets = await open([forgetful]);
  const other = await command(forgets.url, "--primitive", "hello", "--profile", "layotto");
  assert.equal(other.status, 1, "what is no known deviation");
  assert.match(other.out, /FAILED hello: data without a type is echoed/);
  await using well = await open();
  const { status, out } = await command(well.url, "--primitive", "hello", "--profile", "layotto");
  assert.equal(status, 0);
  assert.match(
    out,
    /known deviations that did not happen\n(.*\n)*.*hello: the greeting is the component's own/,
  );
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
  const ended = conformance(["--serve", "--port", "0"]);
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
