import assert from "node:assert/strict";
import { Agent, request as http1Request } from "node:http";
import { connect } from "node:http2";
import { text } from "node:stream/consumers";
import { Code, type ConnectError, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { LogService } from "../gen/atomix/log/log_pb.js";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.js";
import { createServer } from "../src/server/index.js";
import { listen } from "../src/server/node.js";
import { createTunnelTransport } from "../src/transport/tunnel-node.js";

/** A message of a stream that is larger than the limit, its length in front. */
const tooLarge = Buffer.alloc(5 + 1_000_000);
tooLarge.writeUInt32BE(1_000_000, 1);

const PRODUCE = `/${LogService.typeName}/${LogService.method.produce.name}`;
const CONNECT = { "content-type": "application/connect+proto", "connect-protocol-version": "1" };

const open = () =>
  listen(createServer({ config: { limits: { messageBytes: 100_000, valueBytes: 50_000 } } }), { port: 0 });

test("an upload over HTTP/2 that is refused can be sent to its end", async () => {
  await using server = await open();
  const session = connect(server.url);
  const upload = session.request({ ":method": "POST", ":path": PRODUCE, ...CONNECT });
  const written = new Promise((resolve) => upload.end(tooLarge, () => resolve("written")));
  assert.match(await text(upload), /resource_exhausted/);
  assert.equal(await written, "written");
  session.close();
});

test("a connection of HTTP/1.1 whose upload is refused takes the next call", async () => {
  await using server = await open();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const call = () =>
    new Promise<{ said: string; reused: boolean }>((resolve, reject) => {
      const upload = http1Request(server.url + PRODUCE, { method: "POST", agent, headers: CONNECT });
      upload.once("error", reject);
      upload.once("response", (response) =>
        text(response).then((said) => resolve({ said, reused: upload.reusedSocket }), reject),
      );
      upload.end(tooLarge);
    });
  assert.match((await call()).said, /resource_exhausted/);
  const second = await call();
  assert.match(second.said, /resource_exhausted/);
  assert.equal(second.reused, true);
  agent.destroy();
});

test("limits.messageBytes of a tunnel holds for answers too", async () => {
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
