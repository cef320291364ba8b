import assert from "node:assert/strict";
import { connect } from "node:http2";
import { connect as connectTcp } from "node:net";
import { text } from "node:stream/consumers";
import { Code, type ConnectError, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { until } from "../support/until.js";

/** The envelope of a message that is larger than the limit. */
const tooLarge = Buffer.alloc(5 + 1_000_000);
tooLarge.writeUInt32BE(1_000_000, 1);

const PRODUCE = `/${LogService.typeName}/${LogService.method.produce.name}`;
const CONNECT = { "content-type": "application/connect+proto", "connect-protocol-version": "1" };

const open = () =>
  listen(createServer({ config: { limits: { messageBytes: 100_000, valueBytes: 50_000 } } }), { port: 0 });

test("a refused upload over HTTP/2 can be sent to its end", async () => {
  await using server = await open();
  const session = connect(server.url);
  const upload = session.request({ ":method": "POST", ":path": PRODUCE, ...CONNECT });
  const written = new Promise((resolve) => upload.end(tooLarge, () => resolve("written")));
  assert.match(await text(upload), /resource_exhausted/);
  assert.equal(await written, "written");
  session.close();
});

test("an HTTP/1.1 connection whose upload is refused carries the next call", async () => {
  await using server = await open();
  const socket = connectTcp(server.port, "127.0.0.1");
  const head = Object.entries({ ...CONNECT, host: "localhost", "content-length": tooLarge.length });
  const lines = head.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  let said = "";
  let lost: unknown;
  socket.on("data", (chunk) => (said += chunk));
  socket.on("error", (error) => (lost = error));
  for (let calls = 1; calls <= 3; calls++) {
    socket.write(`POST ${PRODUCE} HTTP/1.1\r\n${lines}\r\n`);
    socket.write(tooLarge);
    await until(() => lost !== undefined || said.split("resource_exhausted").length > calls);
    assert.equal(lost, undefined);
  }
  socket.destroy();
});

test("limits.messageBytes of a tunnel applies to responses, too", async () => {
  await using server = await open();
  await using tunnel = createTunnelTransport(server.url, { limits: { messageBytes: 10 } });
  const { serverReflectionInfo } = createClient(ServerReflection, tunnel);
  const asked = (async function* () {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  })();
  const answers = (async () => {
    for await (const _ of serverReflectionInfo(asked));
  })();
  await assert.rejects(answers, ({ code }: ConnectError) => code === Code.ResourceExhausted);
});
