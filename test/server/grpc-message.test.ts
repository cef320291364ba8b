import assert from "node:assert/strict";
import { connect as connectHttp2, createServer as createHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Code, ConnectError, createClient as createRaw } from "@connectrpc/connect";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport, serveCallbacks } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createGrpcWebTransport } from "../../src/web.js";
import { failure } from "../decisions/failure.js";

/** Text with characters that must be encoded and others that must not be. */
const TEXT = 'a:b/c?d=e&f "g" {h} 100% é 漢 😀\r\nnext\tend ';
/** The same text by gRPC's rule. A space at the end is encoded, as HTTP would strip it. */
const ENCODED = 'a:b/c?d=e&f "g" {h} 100%25 %C3%A9 %E6%BC%A2 %F0%9F%98%80%0D%0Anext%09end%20';

/** A server each of whose calls fails with `text`. */
async function failing(text: string) {
  const server = createServer();
  // Inside the error mapping, and outside the validation of requests.
  server.options.interceptors?.splice(-3, 0, () => async () => {
    throw new ConnectError(text, Code.FailedPrecondition);
  });
  return listen(server, { port: 0 });
}

const root = join(import.meta.dirname, "../..");
const definition = loadSync("spec/proto/runtime/v1/runtime.proto", { includeDirs: [join(root, "proto")] });
// biome-ignore lint/suspicious/noExplicitAny: it is made from the .proto files at run time.
const loaded = grpc.loadPackageDefinition(definition) as any;

test("grpc-js reads the message unchanged, for every kind of call", async () => {
  await using at = await failing(TEXT);
  const target = at.url.replace("http://", "");
  const client = new loaded.spec.proto.runtime.v1.Runtime(target, grpc.credentials.createInsecure());
  const told = [
    await new Promise<grpc.ServiceError>((resolve) => client.sayHello({}, resolve)),
    await new Promise<grpc.ServiceError>((resolve) => client.putFile(resolve).end()),
    await new Promise<grpc.ServiceError>((resolve) => client.getFile({}).on("error", resolve).resume()),
    await new Promise<grpc.ServiceError>((resolve) =>
      client.subscribeTopicEvents().on("error", resolve).resume(),
    ),
  ];
  client.close();
  for (const { code, details } of told) {
    assert.equal(code, grpc.status.FAILED_PRECONDITION);
    assert.equal(details, TEXT);
  }
});

/** The `grpc-message` of the response to an empty call, as on the wire: in the headers, the trailers or the body. */
async function onWire(
  url: string,
  path: string,
  headers: Record<string, string>,
): Promise<string | undefined> {
  const session = connectHttp2(url);
  try {
    const stream = session.request({ ":method": "POST", ":path": path, te: "trailers", ...headers });
    let message: string | undefined;
    const note = (received: Record<string, unknown>) => {
      if (received["grpc-message"] !== undefined) message = String(received["grpc-message"]);
    };
    stream.on("response", note).on("trailers", note);
    stream.end(Buffer.alloc(5));
    const body = Buffer.concat(await stream.toArray()).toString("latin1");
    return message ?? /grpc-message: ?(.*)\r\n/.exec(body)?.[1];
  } finally {
    session.destroy();
  }
}

const METHODS = ["SayHello", "PutFile", "GetFile", "SubscribeTopicEvents"];

for (const type of ["application/grpc", "application/grpc-web"]) {
  test(`${type}: the message on the wire is encoded by gRPC's rule`, async () => {
    await using at = await failing(TEXT);
    for (const method of METHODS) {
      const path = `/spec.proto.runtime.v1.Runtime/${method}`;
      assert.equal(await onWire(at.url, path, { "content-type": type }), ENCODED, method);
    }
  });

  test(`${type}: the message of a call that is refused before its handler is encoded, too`, async () => {
    const server = createServer({
      config: {
        access: {
          tokens: [{ token: "t".repeat(32), subject: "a", rules: [{ primitive: "*", verbs: ["read"] }] }],
        },
      },
    });
    await using at = await listen(server, { port: 0 });
    const path = "/spec.proto.runtime.v1.Runtime/GetState";
    const message = await onWire(at.url, path, { "content-type": type });
    assert.match(message ?? "", /: |"|=/);
    assert.doesNotMatch(message ?? "", /%/);
  });
}

test("a compressed trailer is encoded by the same rule", async () => {
  const long = TEXT.repeat(60);
  await using at = await failing(long);
  await using transport = createNodeTransport(at.url, { protocol: "grpc-web", compression: true });
  const error = await failure(createRaw(Runtime, transport).getState({}));
  assert.equal(error.rawMessage, long);
  const path = "/spec.proto.runtime.v1.Runtime/GetState";
  const headers = { "content-type": "application/grpc-web", "grpc-accept-encoding": "gzip" };
  assert.equal(
    await onWire(at.url, path, headers),
    ENCODED.replaceAll("%20", " ").repeat(60).replace(/ $/, "%20"),
  );
});

test("our own clients read it over every transport", async () => {
  await using at = await failing(TEXT);
  const transports = [
    createNodeTransport(at.url, { protocol: "grpc" }),
    createNodeTransport(at.url, { protocol: "grpc-web" }),
    createGrpcWebTransport(at.url),
  ];
  for (const transport of transports) {
    assert.equal((await failure(createRaw(Runtime, transport).getState({}))).rawMessage, TEXT);
    await transport.close();
  }
});

test("text that is not well-formed is sent with replacement characters", async () => {
  await using at = await failing("cut \ud83d: off");
  for (const protocol of ["connect", "grpc", "grpc-web"] as const) {
    await using transport = createNodeTransport(at.url, { protocol });
    const error = await failure(createRaw(Runtime, transport).getState({}));
    assert.equal(error.code, Code.FailedPrecondition, protocol);
    assert.equal(error.rawMessage, "cut \ufffd: off");
  }
});

test("callbacks encode the message by the same rule", async () => {
  await using app = await serveCallbacks(
    {},
    {
      port: 0,
      interceptors: [
        () => async () => {
          throw new ConnectError(TEXT, Code.FailedPrecondition);
        },
      ],
    },
  );
  const path = "/spec.proto.runtime.v1.AppCallback/ListTopicSubscriptions";
  assert.equal(await onWire(app.url, path, { "content-type": "application/grpc" }), ENCODED);
});

test("if a server encodes the message wrongly, the client gets the status, and the readable part of the message", async () => {
  let message = "";
  const server = createHttp2()
    .on("sessionError", () => {})
    .on("stream", (stream) => {
      stream.on("error", () => {}).resume();
      stream.respond(
        { ":status": 200, "content-type": "application/grpc", "grpc-status": "5", "grpc-message": message },
        { endStream: true },
      );
    });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const transport = createNodeTransport(url, { protocol: "grpc" });
  try {
    for (const [sent, read] of [
      ["100% of %C3%A9", "100% of é"],
      ["%FF and 5%", "%FF and 5%"],
    ] as const) {
      message = sent;
      const error = await failure(createRaw(Runtime, transport).getState({}));
      assert.equal(error.code, Code.NotFound);
      assert.equal(error.rawMessage, read);
    }
  } finally {
    await transport.close();
    server.close();
  }
});
