import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "vitest";
import { createClient } from "../../src/index.js";
import { createTunnelTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { findProgram } from "../support/find-program.js";

const HELLO = "/spec.proto.runtime.v1.Runtime/SayHello";
const OFFER =
  "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";

const open = () => listen(createServer(), { port: 0 });

/** The text of a POST request; `more` are further headers. */
function post(name: string, more = ""): string {
  const body = JSON.stringify({ serviceName: "helloworld", name });
  const head = `POST ${HELLO} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  return `${head}${more}Content-Length: ${body.length}\r\n\r\n${body}`;
}

const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;

/** Sends `pieces` one after the other on one connection; resolves with everything that the server sends. */
async function exchange(port: number, pieces: (string | Buffer)[], until: RegExp): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  let text = "";
  const done = new Promise<void>((resolve, reject) => {
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      if (until.test(text)) resolve();
    });
    socket.on("close", () => reject(new Error(`the server closed after ${text}`)));
    socket.on("error", reject);
  });
  for (const piece of pieces) {
    await new Promise((sent) => socket.write(piece, sent));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await done;
  socket.destroy();
  return text;
}

const statuses = (text: string) =>
  [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));
const names = (text: string) => [...text.matchAll(/Hello, (\w+)/g)].map(([, name]) => name);

test("a request that offers h2c is answered as HTTP/1.1, with its body and the requests pipelined after it", async () => {
  await using at = await open();
  const all = [
    post("A", OFFER),
    get("/healthz", OFFER),
    post("B"),
    post("C", OFFER),
    get("/healthz"),
    post("D"),
  ];
  const inOne = await exchange(at.port, [all.join("")], /Hello, D/);
  assert.deepEqual(statuses(inOne), [200, 200, 200, 200, 200, 200]);
  assert.deepEqual(names(inOne), ["A", "B", "C", "D"]);
  // One after the other, on one connection.
  const inMany = await exchange(at.port, all, /Hello, D/);
  assert.deepEqual(names(inMany), ["A", "B", "C", "D"]);
});

test("a body that arrives in pieces, or in chunks with a trailer, is read whole", async () => {
  await using at = await open();
  const whole = post("Ada", OFFER);
  const end = whole.indexOf("\r\n\r\n") + 4;
  const pieces = [whole.slice(0, end), whole.slice(end, end + 10), whole.slice(end + 10) + post("Bob")];
  assert.deepEqual(names(await exchange(at.port, pieces, /Hello, Bob/)), ["Ada", "Bob"]);

  const head = `POST ${HELLO} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${OFFER}`;
  const chunked = [
    `${head}Transfer-Encoding: chunked\r\n\r\n`,
    '1c\r\n{"serviceName":"helloworld",\r\n',
    `f\r\n"name":"Chunk"}\r\n0\r\nx-trailer: 1\r\n\r\n${post("Dan")}`,
  ];
  assert.deepEqual(names(await exchange(at.port, chunked, /Hello, Dan/)), ["Chunk", "Dan"]);
  assert.deepEqual(names(await exchange(at.port, [chunked.join("")], /Hello, Dan/)), ["Chunk", "Dan"]);
});

test("requests that were pipelined before an offer of h2c are answered first", async () => {
  const server = createServer();
  let proceed = () => {};
  const waiting = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  server.options.interceptors?.unshift((next) => async (request) => {
    if ((request.message as { name?: string }).name === "Slow") await waiting;
    return next(request);
  });
  await using at = await listen(server, { port: 0 });
  const text = exchange(at.port, [post("Slow") + post("Next", OFFER) + post("Last")], /Hello, Last/);
  await new Promise((resolve) => setTimeout(resolve, 50));
  proceed();
  assert.deepEqual(names(await text), ["Slow", "Next", "Last"]);
});

test("if the caller leaves while an offer of h2c is queued, nothing leaks", async () => {
  const server = createServer();
  let left = () => {};
  const aborted = new Promise<void>((resolve) => {
    left = resolve;
  });
  const entered = new Promise<void>((resolve) => {
    server.options.interceptors?.unshift((next) => async (request) => {
      request.signal.addEventListener("abort", left);
      resolve();
      await aborted;
      return next(request);
    });
  });
  const at = await listen(server, { port: 0, graceMs: 60_000 });
  const socket = connect(at.port, "127.0.0.1");
  socket.write(post("Slow") + post("Next", OFFER));
  await entered;
  socket.destroy();
  await aborted;
  await at.close();
});

test("WebSockets at other paths are answered as requests, and other protocols at the tunnel's path with 426", async () => {
  await using at = await open();
  const webSocket =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
  const asked = [get("/elsewhere", webSocket), get("/healthz", webSocket), get("/fairlead.tunnel.v1", OFFER)];
  const text = await exchange(at.port, asked, /426[\s\S]*\r\n\r\n[\s\S]*\n/);
  assert.deepEqual(statuses(text), [404, 200, 426]);
  const [, upgradeRequired = ""] = text.split("HTTP/1.1 426");
  assert.match(upgradeRequired, /\r\nupgrade: websocket\r\n/i);
  assert.match(upgradeRequired, /\r\nconnection: upgrade\r\n/i);

  await using fl = createClient(createTunnelTransport(at.url));
  assert.equal(await fl.hello().say("Ada"), "Hello, Ada");
});

test("the tunnel's path answers requests without an upgrade with 426, at every entry point", async () => {
  await using at = await open();
  const plain = await fetch(`${at.url}/fairlead.tunnel.v1?x=1`);
  assert.equal(plain.status, 426);
  assert.equal(plain.headers.get("upgrade"), "websocket");
  assert.match(await plain.text(), /the tunnel is a WebSocket/);

  const session = connectHttp2(at.url);
  const stream = session.request({ ":path": "/fairlead.tunnel.v1" });
  const status = await new Promise((resolve) =>
    stream.on("response", (headers) => resolve(headers[":status"])),
  );
  assert.equal(status, 426);
  session.destroy();

  await using server = createServer();
  const edge = await server.fetch(new Request("http://localhost/fairlead.tunnel.v1"));
  assert.equal(edge.status, 426);
});

const curl = findProgram("curl", "curl --http2");
if (curl) {
  test("curl --http2 posts with a body", async () => {
    await using at = await open();
    const url = at.url + HELLO;
    const data = JSON.stringify({ serviceName: "helloworld", name: "Curl" });
    const args = ["--http2", "-sS", "-m", "10", "-H", "content-type: application/json", "-d", data, url, url];
    const { stdout } = await promisify(execFile)(curl, args);
    assert.deepEqual(names(stdout), ["Curl", "Curl"]);
  });
}

const JAVA = `
import java.net.URI;
import java.net.http.*;

class Hello {
  public static void main(String[] args) throws Exception {
    var client = HttpClient.newHttpClient();
    for (var name : new String[] { "Java", "Duke" }) {
      var body = "{\\"serviceName\\":\\"helloworld\\",\\"name\\":\\"" + name + "\\"}";
      var request = HttpRequest.newBuilder(URI.create(args[0])).header("content-type", "application/json")
        .POST(HttpRequest.BodyPublishers.ofString(body)).build();
      var response = client.send(request, HttpResponse.BodyHandlers.ofString());
      System.out.println(response.statusCode() + " " + response.body());
    }
  }
}`;

const java = findProgram("java", "Java's HttpClient");
const javaTest = java ? test : () => {};
javaTest("Java's default HttpClient calls", { timeout: 60_000 }, async () => {
  await using at = await open();
  const folder = await mkdtemp(join(tmpdir(), "fairlead-java-"));
  try {
    const source = join(folder, "Hello.java");
    await writeFile(source, JAVA);
    const { stdout } = await promisify(execFile)(java ?? "", [source, at.url + HELLO]);
    assert.deepEqual(statuses(stdout.replace(/^/gm, "HTTP/1.1 ")), [200, 200]);
    assert.deepEqual(names(stdout), ["Java", "Duke"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
