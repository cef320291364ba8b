import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient as createRawClient, type Transport } from "@connectrpc/connect";
import { afterEach, test, vi } from "vitest";
import { LogService } from "../../../gen/atomix/log/log_pb.js";
import { GetStateResponseSchema, Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createState, withRetry } from "../../../src/index.js";
import { SERVER_HEADER } from "../../../src/rpc/extension-headers.js";
import { markUnprocessed } from "../../../src/rpc/unprocessed.js";
import { createFailover, type FailoverOptions } from "../../../src/transport/failover.js";
import { unavailable } from "../../support/unavailable.js";

const URLS = ["http://a", "http://b", "http://c"];

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

type Answer = "ok" | (() => Error);

/** A server was not reached. */
const unreached = (): Error => markUnprocessed(new ConnectError("connect ECONNREFUSED", Code.Unavailable));

/** A connection broke during a call. */
const broken = (): Error => new ConnectError("lost the connection", Code.Unavailable);

/** What a Fairlead server answers by itself. */
function answered(error: ConnectError): ConnectError {
  error.metadata.set(SERVER_HEADER, "1");
  return error;
}

/** Servers that answer as `answers` say, one call after the other, the last one for ever, and what they were asked. */
function scripted(answers: Answer[], options: Partial<FailoverOptions> = {}) {
  const calls: { url: string; timeoutMs: number | undefined; messages: unknown[] }[] = [];
  const closed: string[] = [];
  const ask = (url: string, timeoutMs: number | undefined) => {
    const answer = answers[Math.min(calls.length, answers.length - 1)];
    const call = { url, timeoutMs, messages: [] as unknown[] };
    calls.push(call);
    return { call, error: answer === "ok" ? undefined : answer?.() };
  };
  const open = (url: string): Transport & { close(): Promise<void> } => ({
    async unary(method, _signal, timeoutMs) {
      const { error } = ask(url, timeoutMs);
      if (error) throw error;
      const message = method.name === "GetState" ? create(GetStateResponseSchema) : create(EmptySchema);
      return {
        method,
        service: method.parent,
        stream: false,
        header: new Headers(),
        trailer: new Headers(),
        message,
      } as never;
    },
    async stream(method, _signal, timeoutMs, _header, input) {
      const { call, error } = ask(url, timeoutMs);
      for await (const message of input) call.messages.push(message);
      if (error) throw error;
      const response = {
        method,
        service: method.parent,
        stream: true,
        header: new Headers(),
        trailer: new Headers(),
      };
      return { ...response, message: (async function* () {})() } as never;
    },
    close: async () => void closed.push(url),
  });
  const check = async () => {};
  const transport = createFailover([...URLS], { open, check, checksFirst: false, ...options });
  return { transport, calls, closed };
}

/** A write that must not happen twice. */
const write = (transport: Transport, timeoutMs?: number): Promise<unknown> =>
  createRawClient(Runtime, transport).saveState({}, timeoutMs === undefined ? {} : { timeoutMs });

test("a call that no server has processed is sent to the next one, writes too", async () => {
  const { transport, calls } = scripted([unreached, unreached, "ok"]);
  await write(transport);
  assert.deepEqual(calls.map(({ url }) => url).sort(), URLS);
});

test("a call that a server may have processed is not sent again; the next call goes to another server", async () => {
  const { transport, calls } = scripted([broken, "ok"]);
  await assert.rejects(write(transport), { rawMessage: "lost the connection" });
  assert.equal(calls.length, 1);
  await write(transport);
  assert.notEqual(calls[1]?.url, calls[0]?.url);
});

test("withRetry() repeats what may be repeated on another server, however many calls were lost", async () => {
  const { transport, calls } = scripted([...Array.from({ length: 100 }, () => broken), "ok"]);
  const state = createState(withRetry(transport), "default");
  await Promise.all(Array.from({ length: 100 }, () => state.get("key")));
  const [lost] = calls;
  assert.equal(calls.length, 200);
  for (const { url } of calls.slice(0, 100)) assert.equal(url, lost?.url);
  for (const { url } of calls.slice(100)) assert.notEqual(url, lost?.url);
});

test("a deadline bounds all attempts together, and the default one holds for calls without their own", async () => {
  for (const own of [undefined, 5000]) {
    let nowMs = Date.now();
    vi.spyOn(Date, "now").mockImplementation(() => nowMs);
    const slow = () => {
      nowMs += 1000;
      return unreached();
    };
    const { transport, calls } = scripted([slow, slow, "ok"], { defaultTimeoutMs: 8000 });
    await write(transport, own);
    const whole = own ?? 8000;
    assert.deepEqual(
      calls.map(({ timeoutMs }) => timeoutMs),
      [whole, whole - 1000, whole - 2000],
    );
    const late = scripted([
      () => {
        nowMs += 9000;
        return unreached();
      },
    ]);
    await assert.rejects(write(late.transport, 5000), { code: Code.DeadlineExceeded });
    assert.equal(late.calls.length, 1);
    vi.restoreAllMocks();
  }
});

test("a stream that no server has processed is sent again with all of its messages, unless they are too many", async () => {
  async function* values(count: number) {
    for (let i = 0; i < count; i++) yield { value: new Uint8Array([i]) };
  }
  const few = scripted([unreached, "ok"]);
  await assert.rejects(createRawClient(LogService, few.transport).produce(values(3)), {
    code: Code.Unimplemented,
  });
  assert.deepEqual(
    few.calls.map(({ messages }) => messages.length),
    [3, 3],
  );
  const many = scripted([unreached, "ok"]);
  await assert.rejects(createRawClient(LogService, many.transport).produce(values(100)), /ECONNREFUSED/);
  assert.equal(many.calls.length, 1);
});

test("an error of what is behind a Fairlead server does not move the client; that of a server without its engine does", async () => {
  for (const [error, moves] of [
    [() => answered(new ConnectError('the app "shop" is not connected now', Code.Unavailable)), false],
    [() => answered(unavailable(500)), true],
    [() => new ConnectError("HTTP 503", Code.Unavailable, { server: "a balancer" }), true],
    [() => new ConnectError("no", Code.Internal, { server: "any" }), false],
  ] as const) {
    const { transport, calls } = scripted([error, "ok"]);
    await assert.rejects(write(transport));
    await write(transport);
    assert.equal(calls[1]?.url !== calls[0]?.url, moves, String(error()));
  }
});

test("the delay that a server asks for does not hold for another server", async () => {
  const { transport, calls } = scripted([() => answered(unavailable(60_000)), "ok"]);
  await createState(withRetry(transport), "default").get("key");
  assert.equal(calls.length, 2);
});

test("a 503 that says that it has processed nothing is sent to the next server, writes too", async () => {
  const refusal = () => new ConnectError("HTTP 503", Code.Unavailable, { "fairlead-unprocessed": "true" });
  const { transport, calls } = scripted([refusal, "ok"]);
  await write(transport);
  assert.equal(calls.length, 2);
});

test("an aborted call is not sent again", async () => {
  const enough = new AbortController();
  const { transport, calls } = scripted([
    () => {
      enough.abort();
      return unreached();
    },
    "ok",
  ]);
  const answer = createRawClient(Runtime, transport).saveState({}, { signal: enough.signal });
  await assert.rejects(answer);
  assert.equal(calls.length, 1);
});

test("where that is asked for, a server is checked before its first call and after a failure, once for all calls that wait", async () => {
  const checks: string[] = [];
  let isGone = true;
  const check: FailoverOptions["check"] = async () => {
    checks.push(isGone ? "gone" : "there");
    if (isGone) throw new ConnectError("nothing answers", Code.DeadlineExceeded);
  };
  const { transport, calls } = scripted(["ok", "ok", broken, "ok"], { check, checksFirst: true });
  const first = write(transport);
  await assert.rejects(first, (error: ConnectError) => {
    assert.equal(error.code, Code.Unavailable);
    assert.match(error.rawMessage, /^cannot reach any of 3 servers: http:\/\/a: nothing answers;/);
    return true;
  });
  assert.deepEqual([checks, calls.length], [["gone", "gone", "gone"], 0]);
  isGone = false;
  checks.length = 0;
  await write(transport);
  await write(transport);
  assert.deepEqual(checks, ["there"]);
  await assert.rejects(write(transport), { rawMessage: "lost the connection" });
  await Promise.all([write(transport), write(transport), write(transport)]);
  assert.deepEqual(checks, ["there", "there"]);
});

test("after a call that ran out of time the server is checked; one that is silent is left", async () => {
  vi.useFakeTimers();
  const late = () => new ConnectError("the deadline has passed", Code.DeadlineExceeded);
  const checks: (() => void)[] = [];
  let isSilent = false;
  const check: FailoverOptions["check"] = () =>
    isSilent ? new Promise((_, reject) => void checks.push(() => reject(late()))) : Promise.resolve();
  const { transport, calls } = scripted(["ok", late, "ok"], { check });
  await write(transport);
  isSilent = true;
  await assert.rejects(write(transport, 1000), { code: Code.DeadlineExceeded });
  // The next calls wait for one check, not longer than their deadlines.
  const waiting = [1, 2].map(() => assert.rejects(write(transport, 1000), { code: Code.DeadlineExceeded }));
  await vi.advanceTimersByTimeAsync(1000);
  await Promise.all(waiting);
  assert.equal(checks.length, 1);
  checks[0]?.();
  await vi.advanceTimersByTimeAsync(200);
  isSilent = false;
  await write(transport, 1000);
  assert.equal(calls.length, 3);
  assert.notEqual(calls[2]?.url, calls[0]?.url);
});

test("close() closes the transports that were opened, and no others", async () => {
  const { transport, calls, closed } = scripted([unreached, "ok"]);
  await write(transport);
  await transport.close();
  assert.deepEqual(closed.sort(), calls.map(({ url }) => url).sort());
});
