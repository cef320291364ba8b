import assert from "node:assert/strict";
import {
  constants,
  createServer as createHttp2,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, createClient as createRaw, type Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { afterEach, describe, test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { failure } from "../decisions/failure.js";

const close: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of close.splice(0).reverse()) await each();
});

const PROTOCOLS = ["connect", "grpc", "grpc-web"] as const;

/** A server whose HTTP/2 connections and streams are ended by the test. */
async function open({
  onSession = () => {},
  onStream = () => undefined,
  interceptors = [],
}: {
  onSession?: (session: ServerHttp2Session, count: number) => void;
  /** Runs before the call is processed; true: it is not processed. */
  onStream?: (stream: ServerHttp2Stream, count: number) => boolean | undefined;
  interceptors?: Interceptor[];
} = {}) {
  const server = createServer({ interceptors });
  const answer = connectNodeAdapter({ ...server.options, routes: server.routes });
  const sessions = new Set<ServerHttp2Session>();
  let streams = 0;
  const http2 = createHttp2((request, response) => {
    if (!onStream(request.stream, ++streams)) answer(request, response);
  });
  http2.on("session", (session) => {
    sessions.add(session);
    onSession(session, sessions.size);
  });
  http2.on("sessionError", () => {});
  await new Promise<void>((resolve) => http2.listen(0, "127.0.0.1", resolve));
  close.push(async () => {
    for (const session of sessions) session.destroy();
    http2.close();
    await server.close();
  });
  return { url: `http://127.0.0.1:${(http2.address() as AddressInfo).port}`, sessions };
}

function reset(stream: ServerHttp2Stream, code: number): true {
  stream.close(code);
  return true;
}

function dial(url: string, protocol: (typeof PROTOCOLS)[number] = "connect") {
  const transport = createNodeTransport(url, { protocol });
  close.push(transport.close);
  return createRaw(Runtime, transport);
}

const nextId = async (client: ReturnType<typeof dial>) =>
  Number((await client.getNextId({ storeName: "default", key: "k", options: { increment: 1 } })).nextId);

/** Fails unless each call was processed once: each processed call raises the id by one. */
function assertOnce(ids: number[], count: number): void {
  assert.equal(ids.length, count);
  assert.deepEqual(
    ids.sort((a, b) => a - b),
    Array.from({ length: count }, (_, i) => i + 1),
  );
}

for (const protocol of PROTOCOLS) {
  describe(protocol, () => {
    test("60 of 60 writes succeed, once each, if the server sends GOAWAY with stream 0", async () => {
      const at = await open({
        onSession: (session, count) => {
          if (count === 1) session.once("stream", () => session.goaway(0));
        },
      });
      const client = dial(at.url, protocol);
      assertOnce(await Promise.all(Array.from({ length: 60 }, () => nextId(client))), 60);
      assert.ok(at.sessions.size > 1);
    });

    test("with a server that ends each connection after 50 requests, no call is lost or made twice", async () => {
      const at = await open({
        onSession(session) {
          let streams = 0;
          session.on("stream", () => {
            if (++streams === 50) session.close();
          });
        },
      });
      const client = dial(at.url, protocol);
      const ids: number[] = [];
      const work = async () => {
        for (let i = 0; i < 20; i++) ids.push(await nextId(client));
      };
      await Promise.all(Array.from({ length: 40 }, work));
      assertOnce(ids, 800);
      assert.ok(at.sessions.size >= 16);
    });

    test("a refused stream is sent again with its messages", async () => {
      const at = await open({
        onStream: (stream, count) => count % 2 === 1 && reset(stream, constants.NGHTTP2_REFUSED_STREAM),
      });
      const fl = createClient(createNodeTransport(at.url, { protocol }), { retry: false });
      close.push(() => fl.close());
      assert.match((await fl.state().set("k", "v")) ?? "", /\d/);
      // A client stream, a server stream and a bidirectional one.
      await fl.files().put("f", new Uint8Array(100_000).fill(7));
      assert.equal((await (await fl.files().get("f"))?.bytes())?.length, 100_000);
      const subscription = fl.pubsub().subscribe("t")[Symbol.asyncIterator]();
      const event = subscription.next();
      while (!(await Promise.race([event, new Promise<undefined>((resolve) => setTimeout(resolve, 50))]))) {
        await fl.pubsub().publish("t", "hi");
      }
      await subscription.return?.();
    });

    test("a stream that is always refused is unavailable after five attempts", async () => {
      let tries = 0;
      const at = await open({
        onStream: (stream) => {
          tries++;
          stream.close(constants.NGHTTP2_REFUSED_STREAM);
          return true;
        },
      });
      assert.equal((await failure(nextId(dial(at.url, protocol)))).code, Code.Unavailable);
      assert.equal(tries, 5);
    });

    test("a stream that is reset without a status is unavailable, before and within its response", async () => {
      const codes = [
        constants.NGHTTP2_INTERNAL_ERROR,
        constants.NGHTTP2_PROTOCOL_ERROR,
        constants.NGHTTP2_FLOW_CONTROL_ERROR,
        constants.NGHTTP2_CANCEL,
        constants.NGHTTP2_ENHANCE_YOUR_CALM,
        constants.NGHTTP2_CONNECT_ERROR,
      ];
      let code = 0;
      const before = dial((await open({ onStream: (stream) => reset(stream, code) })).url, protocol);
      const within = await open({
        onStream(stream) {
          setTimeout(() => stream.close(code), 60);
          return undefined;
        },
      });
      const fl = createClient(createNodeTransport(within.url, { protocol }), { retry: false });
      close.push(() => fl.close());
      for (code of codes) {
        assert.equal((await failure(nextId(before))).code, Code.Unavailable, `before, ${code}`);
        const records = fl.raw.log.consume({})[Symbol.asyncIterator]();
        assert.equal((await failure(records.next())).code, Code.Unavailable, `within, ${code}`);
      }
    });

    test("a response that ends without a status is unavailable", async () => {
      const type = {
        connect: "application/connect+proto",
        grpc: "application/grpc+proto",
        "grpc-web": "application/grpc-web+proto",
      };
      const at = await open({
        onStream: (stream) => {
          stream.respond({ ":status": 200, "content-type": type[protocol] }, { endStream: true });
          return true;
        },
      });
      const fl = createClient(createNodeTransport(at.url, { protocol }), { retry: false });
      close.push(() => fl.close());
      const records = fl.raw.log.consume({})[Symbol.asyncIterator]();
      assert.equal((await failure(records.next())).code, Code.Unavailable);
    });

    test("the server's own errors are not changed", async () => {
      const at = await open({
        interceptors: [
          () => async () => {
            throw new ConnectError("of its own", Code.Internal);
          },
        ],
      });
      assert.equal((await failure(nextId(dial(at.url, protocol)))).code, Code.Internal);
    });
  });
}

test("an upload that has sent more than is buffered is not sent again", async () => {
  let tries = 0;
  const at = await open({
    onStream: (stream) => {
      tries++;
      stream.resume();
      setTimeout(() => stream.close(constants.NGHTTP2_REFUSED_STREAM), 100);
      return true;
    },
  });
  let ended: unknown;
  const upload = async function* () {
    try {
      for (let i = 0; ; i++) {
        yield { storeName: "default", name: "f", data: new Uint8Array(10) };
        if (i > 20) await new Promise((resolve) => setTimeout(resolve, 20));
      }
    } catch (error) {
      ended = error;
      throw error;
    } finally {
      ended ??= "returned";
    }
  };
  assert.equal((await failure(dial(at.url).putFile(upload()))).code, Code.Unavailable);
  assert.equal(tries, 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(ended, "the messages go on for no one");
});

test("across a restart under load, calls succeed once or are unavailable", async () => {
  const engine = memoryEngine();
  const kept = { ...engine, close: async () => {} };
  let at = await listen(createServer({ engine: kept }), { port: 0 });
  const { port } = at;
  const client = dial(at.url);
  const ids: number[] = [];
  const codes: Code[] = [];
  let isOver = false;
  const work = async () => {
    while (!isOver) {
      try {
        ids.push(await nextId(client));
      } catch (error) {
        codes.push(ConnectError.from(error).code);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  };
  const working = Promise.all(Array.from({ length: 30 }, work));
  for (let i = 0; i < 4; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await at.close();
    at = await listen(createServer({ engine: kept }), { port });
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  isOver = true;
  await working;
  await at.close();
  assert.deepEqual(
    [...new Set(codes)].filter((code) => code !== Code.Unavailable),
    [],
  );
  assert.equal(new Set(ids).size, ids.length);
  // An id that nobody received belongs to a call that failed.
  assert.ok(Math.max(...ids) <= ids.length + codes.length);
  assert.ok(ids.length > 100);
  await engine.close();
});
