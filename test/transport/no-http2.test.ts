import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttp } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { createServer as createTls } from "node:tls";
import { Code, ConnectError } from "@connectrpc/connect";
import { test, vi } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { silent } from "../../src/server/context.js";
import { failure } from "../decisions/failure.js";
import { ca, cert, key } from "../support/certificates.js";
import { openInProcess } from "../support/protocols.js";

/** Opens a port for `server`. */
async function opened(server: Server & { closeAllConnections?(): void }, scheme: "http" | "https") {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const dispose = async () => {
    server.closeAllConnections?.();
    server.close();
  };
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { host, url: `${scheme}://${host}`, [Symbol.asyncDispose]: dispose };
}

const answered = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

const servers = {
  "HTTP/1.1": () => opened(createHttp(), "http"),
  "HTTP/1.1 over TLS": () => opened(createHttps({ key, cert }), "https"),
  "TLS that knows no ALPN": () => {
    const server = createTls({ key, cert }, (socket) => socket.once("data", () => socket.end(answered)));
    return opened(server, "https");
  },
};

for (const [name, open] of Object.entries(servers)) {
  for (const protocol of ["connect", "grpc", "grpc-web"] as const) {
    test(`${protocol} by HTTP/2 to ${name} is unavailable, and the error names the option to set`, async () => {
      await using at = await open();
      await using fl = createClient(createNodeTransport(at.url, { ca, protocol }), { retry: false });
      const stream = fl.raw.log.consume({})[Symbol.asyncIterator]();
      const advice =
        protocol === "grpc"
          ? 'set httpVersion to "1.1" and protocol to "connect" or "grpc-web"'
          : 'set httpVersion to "1.1"';
      for (const call of [fl.state().get("k"), stream.next(), fl.state().get("k")]) {
        const error = await failure(call);
        assert.equal(error.code, Code.Unavailable);
        assert.equal(error.rawMessage, `${at.host} speaks no HTTP/2: ${advice}`);
      }
    });
  }
}

test("an app without HTTP/2 is reported in the server's log, and the server continues", async () => {
  await using app = await opened(createHttp(), "http");
  const warnings: unknown[] = [];
  const log = { ...silent, warn: (fields: { err?: unknown }) => void warnings.push(fields.err) };
  await using at = await openInProcess({ log, config: { apps: { app: { url: app.url } } } });
  await vi.waitFor(() => assert.equal(warnings.length, 1));
  assert.ok(warnings[0] instanceof ConnectError);
  assert.equal(warnings[0].message, `[unavailable] ${app.host} speaks no HTTP/2`);
  assert.equal(await createClient(at.transport).hello().say("Ada"), "Hello, Ada");
});
