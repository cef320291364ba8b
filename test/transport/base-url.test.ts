import assert from "node:assert/strict";
import { createServer as createHttp, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { test } from "vitest";
import { WebSocket } from "ws";
import { createClient, type Fairlead } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createFailoverTunnelTransport, createTunnelTransport as createWebTunnel } from "../../src/tunnel.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";

const makers = {
  createClient,
  createWebTransport,
  createGrpcWebTransport,
  createNodeTransport,
  "createTunnelTransport of fairlead/node": createTunnelTransport,
  "createTunnelTransport of fairlead/tunnel": createWebTunnel,
} as unknown as Record<string, (url: unknown) => unknown>;

const wrong: [given: unknown, shown: string][] = [
  ["localhost:34904", '"localhost:34904"'],
  ["", '""'],
  ["/base", '"/base"'],
  ["ftp://files.example", '"ftp://files.example"'],
  ["ws://localhost:34904", '"ws://localhost:34904"'],
  ["http://ada:secret@localhost", '"http://…@localhost"'],
  ["http://localhost?x=1", '"http://localhost?x=1"'],
  ["http://localhost#top", '"http://localhost#top"'],
  ["http://", '"http://"'],
  [undefined, "undefined"],
  [null, "object"],
  [34904, "number"],
  [[["http://localhost"]], "object"],
  [new URL("http://localhost:34904"), "object"],
  [{}, "object"],
];

for (const [name, make] of Object.entries(makers)) {
  test(`${name}: a malformed URL is refused with its text and the expected form`, () => {
    for (const [given, shown] of wrong) {
      assert.throws(
        () => make(given),
        (error: unknown) => {
          assert.ok(error instanceof TypeError, `${shown}: ${error}`);
          const { message } = error;
          assert.ok(message.includes('must be like "http://localhost:34904"'), message);
          assert.ok(message.endsWith(`got ${shown}`), message);
          assert.ok(!message.includes("secret"));
          return true;
        },
      );
    }
    for (const right of ["http://localhost", "https://edge.example:8443/", "http://[::1]:1/base/"])
      make(right);
  });
}

const listMakers = {
  ...makers,
  "createTunnelTransport of fairlead/tunnel": createFailoverTunnelTransport,
} as unknown as Record<string, (urls: unknown) => object>;

for (const [name, make] of Object.entries(listMakers)) {
  test(`${name}: a list of URLs is refused if one is malformed or occurs twice, or if it is empty`, async () => {
    const refusal = async (urls: unknown): Promise<string> => {
      try {
        const made = make(urls);
        // Pages check a list with the first call: the code for lists is loaded then.
        await ("unary" in made ? createClient(made as never) : (made as Fairlead)).hello().say("x");
      } catch (error) {
        assert.ok(error instanceof TypeError, `${JSON.stringify(urls)}: ${error}`);
        return error.message;
      }
      throw new Error(`${JSON.stringify(urls)} is not refused`);
    };
    assert.match(
      await refusal(["http://localhost", "ws://localhost:34904"]),
      /must be like "http:.* got "ws:/,
    );
    assert.match(await refusal([]), /list of URLs must have one or more, got \[\]/);
    const twice = ["http://localhost:34904/", "http://127.0.0.1:34904", "http://localhost:34904"];
    assert.match(
      await refusal(twice),
      /list of URLs must have each once, got "http:\/\/localhost:34904" twice/,
    );
    assert.match(await refusal(["http://localhost", undefined]), /must be like .* got undefined/);
  });
}

test("a base path, as behind a reverse proxy, is the prefix of every request: by fetch, on Node and for the tunnel", async () => {
  globalThis.WebSocket ??= WebSocket as unknown as typeof globalThis.WebSocket;
  await using at = await listen(createServer(), { port: 0 });
  // Forwards requests under /base, without that prefix.
  const proxy = createHttp((request, response) => {
    if (!request.url?.startsWith("/base/")) return void response.writeHead(404).end();
    const { method, headers } = request;
    const path = request.url.slice("/base".length);
    const onward = httpRequest({ host: "127.0.0.1", port: at.port, path, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  });
  proxy.on("upgrade", (request, socket, head) => {
    assert.equal(request.url, "/base/fairlead.tunnel.v1");
    const there = connect(at.port, "127.0.0.1");
    const lines = [`GET ${request.url.slice("/base".length)} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    there.write(`${lines.join("\r\n")}\r\n\r\n`);
    there.write(head);
    socket.pipe(there).pipe(socket);
    for (const each of [socket, there]) each.on("error", () => {});
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/base/`;
  const transports = [
    createWebTransport(url),
    createGrpcWebTransport(url),
    createNodeTransport(url, { httpVersion: "1.1" }),
    createTunnelTransport(url),
    createWebTunnel(url),
  ];
  for (const transport of transports) {
    assert.equal(await createClient(transport, { retry: false }).hello().say("x"), "Hello, x");
    await transport[Symbol.asyncDispose]();
  }
  proxy.close();
});
