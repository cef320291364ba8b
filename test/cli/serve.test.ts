import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { Code, type ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, test, vi } from "vitest";
import { serveCommand } from "../../src/cli/serve.js";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { ca, cert, key, renewed } from "../support/certificates.js";

const certificates = join(import.meta.dirname, "../support/certificates");

let folder: string;
let printed: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
});

afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

/** `fairlead serve` on a free port, in this process: its exit status, and its URL once it has printed that. */
async function start(...args: string[]): Promise<{ url: string; status: Promise<number> }> {
  const status = serveCommand(["--port", "0", "--data", join(folder, "data"), ...args]);
  await Promise.race([status, vi.waitFor(() => assert.match(printed, /Fairlead at http/))]);
  return { url: /Fairlead at (\S+)/.exec(printed)?.[1] ?? "", status };
}

/** The certificate that a new connection is shown. */
function fingerprint(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const options = { host: hostname, port: Number(port), rejectUnauthorized: false };
    const socket = connectTls(options, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    }).on("error", reject);
  });
}

/** What a signal does to this process, without the signal. */
const send = (signal: "SIGTERM" | "SIGINT") => process.emit(signal, signal);

/** A service behind the server that answers when it is told to. */
async function openSlow() {
  let response: ServerResponse | undefined;
  const http = createHttpServer((_request, answer) => {
    response = answer;
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const path = join(folder, "fairlead.json");
  await writeFile(path, JSON.stringify({ services: { slow: { url } } }));
  return {
    args: ["--config", path],
    called: () => vi.waitFor(() => assert.ok(response)),
    answer: () => response?.end("at last"),
    [Symbol.asyncDispose]: async () => {
      http.closeAllConnections();
      http.close();
    },
  };
}

test("SIGTERM: further calls are refused, /readyz says so, what is under way finishes, the status is 0", async () => {
  await using slow = await openSlow();
  const { url, status } = await start(...slow.args);
  await using fl = createClient(createNodeTransport(url), { retry: false });
  const answer = fl.service("slow").fetch("/");
  const uploaded = (async function* () {
    // More than the flow-control windows hold: the server reads by then, so it has accepted the call.
    for (let i = 0; i < 64; i++) yield new Uint8Array(64 * 1024);
    await slow.called();
    send("SIGTERM");
    await vi.waitFor(async () => assert.equal((await fetch(`${url}/readyz`)).status, 503));
    yield new Uint8Array(1000);
  })();
  await fl.files().put("half-way", uploaded);
  assert.deepEqual(await (await fetch(`${url}/readyz`)).json(), {
    status: "not ready",
    why: "the server is closing",
  });
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  await using late = createClient(createNodeTransport(url), { retry: false });
  const refused = (await late
    .state()
    .get("k")
    .catch((error: unknown) => error)) as ConnectError;
  assert.equal(refused.code, Code.Unavailable);
  slow.answer();
  assert.equal(await (await answer).text(), "at last");
  assert.equal(await status, 0);
  await assert.rejects(fetch(`${url}/readyz`));
});

test("--drain: calls are taken for so long after the signal, while /readyz says already that they are not", async () => {
  const { url, status } = await start("--drain", "0.5");
  send("SIGTERM");
  await vi.waitFor(async () => assert.equal((await fetch(`${url}/readyz`)).status, 503));
  await using fl = createClient(createNodeTransport(url), { retry: false });
  assert.equal(await fl.state().get("k"), undefined);
  assert.match(printed, /SIGTERM: \/readyz answers 503, calls are accepted for 0\.5 s more; then open calls/);
  assert.equal(await status, 0);
  await assert.rejects(
    serveCommand(["--drain", "soon"]),
    /--drain must be a number of seconds, 0 or more, got "soon"/,
  );
});

test("--grace: what has not finished by then is cut", async () => {
  await using slow = await openSlow();
  const { url, status } = await start(...slow.args, "--grace", "0.1");
  await using fl = createClient(createNodeTransport(url), { retry: false });
  const answer = fl
    .service("slow")
    .fetch("/")
    .catch((error: unknown) => error as ConnectError);
  await slow.called();
  send("SIGINT");
  assert.equal(await status, 0);
  assert.ok((await answer) instanceof Error);
});

test("a second signal ends the process at once", async () => {
  await using slow = await openSlow();
  const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
  const { url, status } = await start(...slow.args);
  await using fl = createClient(createNodeTransport(url), { retry: false });
  const answer = fl.service("slow").fetch("/");
  await slow.called();
  send("SIGTERM");
  await vi.waitFor(() => assert.match(printed, /SIGTERM: open calls may finish within 5 s/));
  send("SIGTERM");
  await vi.waitFor(() => assert.deepEqual(exit.mock.calls, [[143]]));
  slow.answer();
  await answer;
  await status;
});

test("--tls-key and --tls-cert: the port speaks TLS", async () => {
  const pair = [
    "--tls-key",
    join(certificates, "server.key"),
    "--tls-cert",
    join(certificates, "server.pem"),
  ];
  const { url, status } = await start(...pair);
  assert.match(url, /^https:/);
  await using fl = createClient(createNodeTransport(url, { ca }));
  assert.equal(await fl.hello().say("Ada"), "Hello, Ada");
  send("SIGTERM");
  assert.equal(await status, 0);
});

test("a certificate that changes is used for further connections, those that are open go on", async () => {
  const [keyPath, certPath] = [join(folder, "k.pem"), join(folder, "c.pem")];
  const write = async (pair: typeof renewed) => {
    await writeFile(keyPath, pair.key);
    await writeFile(certPath, pair.cert);
  };
  const old = { key, cert };
  await write(old);
  const logged = () => vi.mocked(process.stderr.write).mock.calls.map(([line]) => String(line));
  const { url, status } = await start("--tls-key", keyPath, "--tls-cert", certPath);
  await using fl = createClient(createNodeTransport(url, { ca }), { retry: false });
  let lost = 0;
  const follower = (async () => {
    for await (const { value } of fl.log<number>("l").read()) if (value === 2) return;
  })().catch(() => void lost++);
  await fl.log<number>("l").append(1);
  const before = await fingerprint(url);

  // Half of a renewal: it is told of, and nothing changes.
  await writeFile(keyPath, renewed.key);
  await vi.waitFor(() => assert.match(logged().join(""), /cannot be read again: the previous one/), 5000);
  assert.equal(await fingerprint(url), before);
  await write(renewed);
  await vi.waitFor(async () => assert.notEqual(await fingerprint(url), before), 5000);
  const after = await fingerprint(url);

  // The other way round, without waiting.
  await write(old);
  process.emit("SIGHUP", "SIGHUP");
  await vi.waitFor(async () => assert.equal(await fingerprint(url), before), { timeout: 800, interval: 20 });
  assert.notEqual(after, before);
  assert.equal(logged().filter((line) => line.includes("read again:")).length, 1);

  await fl.log<number>("l").append(2);
  await follower;
  assert.equal(lost, 0);
  await using further = createClient(createNodeTransport(url, { ca }));
  assert.equal(await further.hello().say("Ada"), "Hello, Ada");
  send("SIGTERM");
  assert.equal(await status, 0);
  assert.equal(process.listenerCount("SIGHUP"), 0);
});

test("--memory: the banner says that nothing is kept, and stderr is empty", async () => {
  const status = serveCommand(["--port", "0", "--memory"]);
  await vi.waitFor(() => assert.match(printed, /engine: memory \(nothing is kept\)\n/));
  send("SIGTERM");
  assert.equal(await status, 0);
  assert.deepEqual(vi.mocked(process.stderr.write).mock.calls, []);
});

test("options that are wrong are told before anything is served", async () => {
  const key = join(certificates, "server.key");
  await assert.rejects(serveCommand(["--tls-key", key]), /--tls-cert is missing/);
  await assert.rejects(serveCommand(["--tls-cert", key]), /--tls-key is missing/);
  await assert.rejects(
    serveCommand(["--tls-key", key, "--tls-cert", "/no/such"]),
    /--tls-cert "\/no\/such": there is no such file/,
  );
  await assert.rejects(
    serveCommand(["--tls-key", key, "--tls-cert", key, "--port", "0", "--memory"]),
    /are not a PEM key and its certificate/,
  );
  await assert.rejects(
    serveCommand(["--grace", "soon"]),
    /--grace must be a number of seconds, 0 or more, got "soon"/,
  );
});
