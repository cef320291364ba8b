import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { Code, ConnectError, createClient as createRaw, type Transport } from "@connectrpc/connect";
import { pino } from "pino";
import { describe, test } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { consoleLog } from "../../src/cli/console-log.js";
import { createClient, text } from "../../src/index.js";
import { createNodeTransport, serveCallbacks } from "../../src/node.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { Logger } from "../../src/server/index.js";
import { openInProcess, overHttp } from "../support/protocols.js";
import { until } from "../support/until.js";

type Line = Record<string, unknown>;

/** Collects log lines of every level. */
function keeping(): { log: Logger; lines: Line[]; calls(): Promise<Line[]> } {
  const lines: Line[] = [];
  const at = (level: keyof Logger) => (fields: object, msg: string) =>
    void lines.push({ level, msg, ...fields });
  const log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  const calls = async () => {
    // A line is written after the last byte of the response, which its reader may have received already.
    await new Promise((resolve) => setTimeout(resolve, 20));
    return lines.filter(({ msg }) => msg === "call" || msg === "call failed");
  };
  return { log, lines, calls };
}

const openByProtocol = {
  connect: overHttp((url) => createNodeTransport(url)),
  grpc: overHttp((url) => createNodeTransport(url, { protocol: "grpc" })),
  "grpc-web": overHttp((url) => createNodeTransport(url, { protocol: "grpc-web" })),
};

for (const [protocol, open] of Object.entries(openByProtocol)) {
  describe(protocol, () => {
    test("every call has one line with its method, protocol, code and duration, failures at info", async () => {
      const { log, calls } = keeping();
      await using at = await open({ log, config: { limits: { messageBytes: 100_000 } } });
      const runtime = createRaw(Runtime, at.transport);
      await runtime.getState({ storeName: "default", key: "k" });
      const failed = [
        runtime.getState({ storeName: "nowhere", key: "k" }),
        runtime.getFile({ storeName: "default", name: "none" })[Symbol.asyncIterator]().next(),
        runtime.sayHello({ serviceName: "helloworld", name: "x".repeat(200_000) }),
      ];
      const codes = await Promise.all(failed.map((call) => call.catch((error: ConnectError) => error.code)));
      assert.deepEqual(codes, [Code.InvalidArgument, Code.NotFound, Code.ResourceExhausted]);
      const lines = (await calls()).map((line) => {
        assert.equal(typeof line["durationMs"], "number");
        assert.equal(line["protocol"], protocol);
        return `${line["level"]} ${String(line["method"]).replace("spec.proto.runtime.v1.", "")} ${line["code"]}`;
      });
      assert.deepEqual(lines.sort(), [
        "debug Runtime/GetState ok",
        "info Runtime/GetFile not_found",
        "info Runtime/GetState invalid_argument",
        "info Runtime/SayHello resource_exhausted",
      ]);
    });

    test("the line of a stream is written when it ends; one that its caller leaves is canceled", async () => {
      const { log, calls } = keeping();
      await using at = await open({ log });
      const logs = createRaw(LogService, at.transport);
      await createClient(at.transport).log("l", { codec: text() }).append(["a"]);
      const leaving = new AbortController();
      const headers = { "fairlead-log": "l" };
      const stream = logs.consume({}, { headers, signal: leaving.signal })[Symbol.asyncIterator]();
      await stream.next();
      const consumes = async () => (await calls()).filter(({ method }) => /Consume/.test(String(method)));
      assert.deepEqual(await consumes(), []);
      leaving.abort();
      await stream.next().catch(() => {});
      // The server notices it when it reads.
      await until(async () => (await consumes()).length > 0);
      assert.deepEqual(
        (await consumes()).map(({ level, code }) => [level, code]),
        [["debug", "canceled"]],
      );
    });

    test("a valid x-request-id is the call's id in the log and in its response", async () => {
      const { log, calls } = keeping();
      await using at = await open({ log });
      const runtime = createRaw(Runtime, at.transport);
      const answered: (string | null)[] = [];
      const get = (id?: string) =>
        runtime.getState(
          { storeName: "default", key: "k" },
          {
            ...(id !== undefined && { headers: { "x-request-id": id } }),
            onHeader: (headers) => void answered.push(headers.get("fairlead-request-id")),
          },
        );
      await get("order-7/a");
      await get();
      await get("x".repeat(101));
      await get('{"a": 1}');
      const [own, ...made] = answered;
      assert.equal(own, "order-7/a");
      for (const id of made) assert.match(id ?? "", /^[0-9a-f]{12}-[0-9a-z]+$/);
      assert.equal(new Set(answered).size, 4);
      assert.deepEqual((await calls()).map(({ reqId }) => reqId).sort(), [...answered].sort());
    });

    test("an error has the call's id once in its metadata, also for a stream", async () => {
      const { log, lines } = keeping();
      await using at = await open({ log });
      const runtime = createRaw(Runtime, at.transport);
      const idOf = async (call: Promise<unknown>, id: string) => {
        const error = await call.then(
          () => undefined,
          (error: unknown) => error as ConnectError,
        );
        assert.deepEqual([error?.metadata.get("fairlead-request-id")], [id], JSON.stringify(lines));
      };
      const named = (id: string) => ({ headers: { "x-request-id": id } });
      await idOf(runtime.getState({ storeName: "no", key: "k" }, named("a")), "a");
      const file = runtime.getFile({ storeName: "default", name: "none" }, named("b"));
      await idOf(file[Symbol.asyncIterator]().next(), "b");
    });

    test("a call that is refused by the access rules has a line, and its id in the response", async () => {
      const { log, calls } = keeping();
      const access = {
        tokens: [
          {
            token: "a-secret-token-of-length-enough",
            subject: "a",
            rules: [{ primitive: "*" as const, verbs: ["*"] }],
          },
        ],
      };
      await using at = await open({ log, config: { access } });
      const error = await createRaw(Runtime, at.transport)
        .getState({ storeName: "default", key: "k" })
        .catch((error: ConnectError) => error);
      assert.ok(error instanceof ConnectError);
      assert.equal(error.code, Code.Unauthenticated);
      const [line] = await calls();
      assert.deepEqual([line?.["code"], line?.["protocol"]], ["unauthenticated", protocol]);
      assert.equal(error.metadata.get("fairlead-request-id"), line?.["reqId"]);
    });
  });
}

test("an unexpected error is answered with an id that is in the log beside its cause", async () => {
  const { log, lines } = keeping();
  const engine = memoryEngine();
  const cause = new Error("it broke");
  const keys = Object.assign(Object.create(engine.keys), { get: () => Promise.reject(cause) });
  await using at = await openInProcess({ log, engine: { ...engine, keys } });
  const error = await createRaw(Runtime, at.transport)
    .getState({ storeName: "default", key: "k" }, { headers: { "x-request-id": "req-1" } })
    .catch((error: ConnectError) => error);
  assert.match(String(error), /unexpected failure req-1: the server's log tells more/);
  const { err, reqId } = lines.find(({ msg }) => msg === "unexpected failure") ?? {};
  assert.deepEqual([err, reqId], [cause, "req-1"]);
});

test("the log lines of a service during a call have the id of the call", async () => {
  const { log, lines } = keeping();
  await using at = await openInProcess({
    log,
    config: {
      services: { web: { url: "http://127.0.0.1:1" } },
      bindings: { web: { type: "http", url: "http://127.0.0.1:1" } },
      secrets: { default: { type: "file", path: "/no/such" } },
    },
  });
  const { runtime, lifecycle } = createClient(at.transport).raw;
  const named = (id: string) => ({ headers: { "x-request-id": id } });
  const quietly = (call: Promise<unknown>) => call.catch(() => {});
  await quietly(runtime.invokeService({ id: "web", message: { method: "x" } }, named("service")));
  await quietly(runtime.invokeBinding({ name: "web", operation: "get" }, named("binding")));
  await quietly(runtime.getSecret({ storeName: "default", key: "k" }, named("secret")));
  await quietly(runtime.getBulkSecret({ storeName: "default" }, named("secrets")));
  const metadata = { greeting: "Hi" };
  await lifecycle.applyConfiguration(
    { componentConfig: { kind: "hello", name: "helloworld", metadata } },
    named("change"),
  );
  const pubsub = createClient(at.transport).pubsub();
  const onOpen = () => pubsub.publish("t", "x");
  for await (const message of pubsub.subscribe("t", { onOpen, ...named("subscription") })) {
    message.drop();
    break;
  }
  const told = lines.filter(({ msg }) => !String(msg).startsWith("call"));
  assert.deepEqual(
    told.map(({ reqId, msg }) => [reqId, msg]),
    [
      ["service", "no answer to a request"],
      ["binding", "no answer to a request"],
      ["secret", "cannot read a secret store's file"],
      ["secrets", "cannot read a secret store's file"],
      ["change", "component changed"],
      ["subscription", "a consumer dropped an event"],
    ],
  );
});

test("a pino logger fits as a Logger", async () => {
  const lines: Line[] = [];
  const write = (chunk: Buffer, _encoding: unknown, done: () => void) => {
    lines.push(JSON.parse(String(chunk)) as Line);
    done();
  };
  const log: Logger = pino({ level: "debug" }, new Writable({ write }));
  await using at = await openInProcess({ log });
  await createClient(at.transport).state().get("k");
  assert.deepEqual(
    lines.map(({ level, msg, code }) => [level, msg, code]).filter(([, msg]) => msg === "call"),
    [[20, "call", "ok"]],
  );
});

test("consoleLog() writes pino's format, from its level on, and errors with their stack", () => {
  const lines: Line[] = [];
  const log = consoleLog("info", (line) => {
    assert.ok(line.endsWith("\n"));
    lines.push(JSON.parse(line) as Line);
  });
  log.debug({}, "unheard");
  log.info({ offset: 1n, level: "mine", msg: "mine" }, "heard");
  log.error({ err: new Error("broken", { cause: new Error("deeper") }) }, "failed");
  const [info, error] = lines as [Line, Line];
  assert.equal(lines.length, 2);
  assert.deepEqual(
    [info["level"], info["msg"], info["offset"], typeof info["time"]],
    [30, "heard", "1", "number"],
  );
  assert.deepEqual([error["level"], error["msg"]], [50, "failed"]);
  const err = error["err"] as { type: string; message: string; stack: string; cause: { message: string } };
  assert.deepEqual([err.type, err.message, err.cause.message], ["Error", "broken", "deeper"]);
  assert.match(err.stack, /telemetry-log\.test/);
});

/** A marker for all data of a client. */
const MARK = "mark-7f3a";

async function battery(transport: Transport): Promise<void> {
  const fl = createClient(transport, { retry: false });
  const runtime = createRaw(Runtime, transport);
  const headers = { authorization: `Bearer ${MARK}`, cookie: MARK, "x-own": MARK };
  const quietly = (call: Promise<unknown>) => call.catch(() => {});
  await fl.state().set(MARK, MARK, { headers });
  await quietly(fl.state().set(MARK, MARK, { ifMatch: "99" }));
  await quietly(fl.state().set(MARK, MARK, { ifMatch: MARK }));
  await fl.state().update(MARK, () => MARK);
  await fl.files().put(MARK, MARK);
  await quietly(fl.files().get(`${MARK}-none`));
  const audit = fl.log<string>(MARK);
  await audit.append([MARK]);
  for await (const _ of audit.read({ follow: false }));
  await fl.map<string>(MARK).put(MARK, MARK);
  await quietly(fl.map<string>(MARK).put(MARK, MARK, { ifVersion: 99n }));
  await (await fl.lock().acquire(MARK, { ttlMs: 5000 })).release();
  await fl.sequencer().next(MARK);
  await fl.configuration().save({ [MARK]: MARK });
  await fl.secrets().get("password");
  await quietly(runtime.getSecret({ storeName: MARK, key: MARK }));
  await fl.bindings.invoke("echo", "create", { data: MARK } as never).catch(() => {});
  await quietly(
    runtime.invokeBinding({ name: "web", operation: "post", data: new TextEncoder().encode(MARK) }),
  );
  await quietly(
    runtime.invokeService({ id: "web", message: { method: MARK, contentType: MARK } }, { headers }),
  );
  await quietly(runtime.sayHello({ serviceName: MARK, name: MARK }));
  const topic = fl.pubsub();
  let seen = 0;
  const onOpen = async () => {
    await topic.publish("t", MARK);
  };
  for await (const message of topic.subscribe<string>("t", { onOpen })) {
    if (++seen === 1) message.retry();
    else {
      message.drop();
      break;
    }
  }
}

test("no line has a key, a value, a secret or a token of a client, at any level", async () => {
  let output = "";
  const log = consoleLog("debug", (line) => {
    output += line;
  });
  const config = {
    secrets: { default: { type: "values" as const, values: { password: MARK } } },
    services: { web: { url: "http://127.0.0.1:1" } },
    bindings: { echo: { type: "echo" as const }, web: { type: "http" as const, url: "http://127.0.0.1:1" } },
    pubsub: { default: { maxDeliveries: 3, retryMinMs: 1, retryMaxMs: 2 } },
  };
  let failures = 0;
  const failing = () => {
    failures++;
    throw new Error(MARK);
  };
  await using app = await serveCallbacks({ failing, dead: () => {} }, { port: 0 });
  const apps = { app: { url: app.url } };
  await using at = await openByProtocol.grpc({ log, config: { ...config, apps } });
  await battery(at.transport);
  await createClient(at.transport).pubsub().publish("failing", MARK);
  await until(() => output.includes("an event is dropped after its last delivery"));
  assert.equal(failures, 3);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(output.split("\n").length > 25, output);
  assert.doesNotMatch(output, new RegExp(MARK));
});
