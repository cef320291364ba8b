import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, test, vi } from "vitest";
import { healthCommand } from "../../src/cli/health.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { cert, key } from "../support/certificates.js";

let printed = "";

beforeEach(() => {
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

test("a ready server has status 0, and one that drains fails with its reason", async () => {
  const server = createServer();
  await using listening = await listen(server, { port: 0 });
  assert.equal(await healthCommand([listening.url]), 0);
  assert.equal(printed, `${listening.url} is ready\n`);
  server.drain();
  await assert.rejects(
    healthCommand([`${listening.url}/`]),
    new Error(`${listening.url}/ is not ready: the server is closing`),
  );
});

test("without URL it asks the server that the environment describes, whatever name its certificate has", async () => {
  await using listening = await listen(createServer(), {
    port: 0,
    host: "0.0.0.0",
    insecure: true,
    tls: { key, cert },
  });
  vi.stubEnv("FAIRLEAD_HOST", "0.0.0.0");
  vi.stubEnv("FAIRLEAD_PORT", String(listening.port));
  vi.stubEnv("FAIRLEAD_TLS_KEY", "key.pem");
  assert.equal(await healthCommand([]), 0);
  assert.equal(printed, `https://127.0.0.1:${listening.port} is ready\n`);
  await assert.rejects(
    healthCommand([`https://127.0.0.1:${listening.port}`]),
    /no server answers at .*certificate/,
  );
});

test("another server, none, and a wrong URL are told in words", async () => {
  const http = createHttpServer((_, response) => response.writeHead(404).end("<html>")).listen(
    0,
    "127.0.0.1",
  );
  await new Promise((resolve) => http.once("listening", resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  await assert.rejects(healthCommand([url]), new Error(`${url} is not ready: its answer has status 404`));
  await new Promise((resolve) => http.close(resolve));
  await assert.rejects(
    healthCommand([url]),
    new Error(`no server answers at "${url}": nothing listens there`),
  );
  await assert.rejects(
    healthCommand(["localhost"]),
    /URL must begin with http:\/\/ or https:\/\/, got "localhost"/,
  );
  vi.stubEnv("FAIRLEAD_PORT", "0");
  await assert.rejects(healthCommand([]), /FAIRLEAD_PORT must be a number from 1 to 65535, got "0"/);
});
