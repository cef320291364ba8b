import assert from "node:assert/strict";
import { Code, ConnectError, createRouterTransport, createClient as rawClient } from "@connectrpc/connect";
import { test } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { generatedClient } from "../../src/client/generated-client.js";
import { createClient } from "../../src/index.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { forEachProtocol, overHttp } from "../support/protocols.js";
import { until } from "../support/until.js";

/** Error texts of other servers and transports, here used by an app. */
const TEXTS = [
  "premature end",
  "socket hang up",
  "session closed",
  "missing trailer",
  "GOAWAY",
  "possible etag mismatch",
  "file does not exist",
  "no instance found",
  "HTTP 505",
];

const openTunnel = overHttp((url) => createTunnelTransport(url));

test("an error of a handler of service.serve() is internal for its caller, and is not retried, whatever its text", async () => {
  await using at = await openTunnel();
  await using app = createClient(createTunnelTransport(at.url, { appId: "shop" }));
  const thrown: string[] = [];
  const serving = await app.service.serve((request) => {
    const text = decodeURIComponent(new URL(request.url).pathname.slice(1));
    thrown.push(text);
    throw new Error(text);
  });
  await serving.ready;
  const service = createClient(at.transport).service("shop");
  for (const text of TEXTS) {
    await assert.rejects(service.fetch(`/${encodeURIComponent(text)}`), (error) => {
      assert.ok(error instanceof ConnectError);
      assert.deepEqual([error.code, error.rawMessage], [Code.Internal, text]);
      return true;
    });
  }
  assert.deepEqual(thrown, TEXTS);
});

test("an app is not disconnected because the error of its event handler mentions lost connections", async () => {
  const lines: string[] = [];
  const note = (_fields: object, message: string) => void lines.push(message);
  await using at = await openTunnel({ log: { debug() {}, info: note, warn: note, error: note } });
  await using app = createClient(createTunnelTransport(at.url, { appId: "shop" }));
  let runs = 0;
  const serving = await app.pubsub.serve({
    orders: () => {
      if (++runs === 1) throw new Error("premature end: socket hang up");
    },
  });
  await serving.ready;
  await until(() => lines.includes("an app is here"));
  await createClient(at.transport).pubsub().publish("orders", { id: 1 });
  await until(() => runs === 2);
  assert.deepEqual(
    lines.filter((line) => line.includes("left")),
    [],
  );
});

forEachProtocol("download", (open) => {
  test("every error of this server has the fairlead-server header", async () => {
    await using at = await open();
    const raw = rawClient(Runtime, at.transport);
    const log = rawClient(LogService, at.transport);
    const drained = async (messages: AsyncIterable<unknown>) => {
      for await (const _ of messages);
    };
    const failures = [
      raw.getState({ storeName: "nope", key: "k" }),
      raw.getSecret({ storeName: "nope", key: "k" }),
      raw.getState({ storeName: "default", key: "k" }, { headers: { "fairlead-fence": "?" } }),
      raw.saveState({ storeName: "default", states: [{ key: "k", etag: { value: "7" } }] }),
      drained(raw.getFile({ storeName: "default", name: "none" })),
      drained(log.consume({ offset: 1n }, { headers: { "fairlead-follow": "perhaps" } })),
    ];
    const marks = failures.map(async (failure) => {
      const error = await failure.then(
        () => undefined,
        (error: unknown) => error,
      );
      return error instanceof ConnectError ? error.metadata.has("fairlead-server") : undefined;
    });
    assert.deepEqual(await Promise.all(marks), [true, true, undefined, true, true, true]);
  });
});

test("error texts are interpreted only for servers without the fairlead-server header", async () => {
  const outcomes: [Code, string, Code][] = [
    [Code.Unknown, "possible etag mismatch", Code.Aborted],
    [Code.Internal, "open f: no such file or directory", Code.NotFound],
    [Code.Unknown, "configure store [x] don't support now", Code.InvalidArgument],
    [Code.PermissionDenied, "optimistic lock", Code.Aborted],
    [Code.FailedPrecondition, "lock store is not configured", Code.InvalidArgument],
    [Code.Internal, "connection refused", Code.Internal],
  ];
  for (const [code, text, meant] of outcomes) {
    const codeWith = async (headers?: HeadersInit) => {
      const transport = createRouterTransport(({ rpc }) =>
        rpc(Runtime.method.getState, () => {
          throw new ConnectError(text, code, headers);
        }),
      );
      const error = await generatedClient(Runtime, transport)
        .getState({})
        .catch((error: unknown) => error);
      return (error as ConnectError).code;
    };
    assert.equal(await codeWith(), meant, text);
    assert.equal(await codeWith({ "fairlead-server": "0.1.0" }), code, text);
  }
});
