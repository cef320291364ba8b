import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { createClient as createRawClient } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient, createLock, createLog, createState } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport } from "../../src/node.js";
import { createWebTransport } from "../../src/web.js";
import { openInProcess, overHttp } from "../support/protocols.js";
import { until } from "../support/until.js";

/** More listeners than Node allows before it warns of a leak. */
const MANY = Array.from({ length: 25 }, (_, i) => i);

const WAYS = [
  { name: "HTTP/2", open: overHttp((url) => createNodeTransport(url)) },
  { name: "HTTP/1.1", open: overHttp((url) => createNodeTransport(url, { httpVersion: "1.1" })) },
  { name: "gRPC", open: overHttp((url) => createNodeTransport(url, { protocol: "grpc" })) },
  { name: "the tunnel", open: overHttp((url) => createTunnelTransport(url)) },
  { name: "fetch", open: overHttp((url) => createWebTransport(url)) },
  { name: "in process", open: openInProcess, isOurs: false },
];

/** Node emits its warnings in a later turn. */
async function warningsOf(task: (signal: AbortSignal) => Promise<void>): Promise<string[]> {
  const warnings: string[] = [];
  const note = ({ name, message }: Error) => void warnings.push(`${name}: ${message}`);
  process.on("warning", note);
  try {
    const { signal } = new AbortController();
    await task(signal);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await until(() => getEventListeners(signal, "abort").length === 0);
  } finally {
    process.off("warning", note);
  }
  return warnings;
}

describe.each(WAYS)("any number of calls with one signal, over $name", ({ open, isOurs = true }) => {
  test("cause no warning, and leave no listener", async () => {
    await using at = await open();
    await using fl = createClient(at.transport, { closeTransport: false });
    const [state, lock] = [createState(at.transport, "default"), createLock(at.transport, "default")];
    const raw = createRawClient(Runtime, at.transport);
    const warnings = await warningsOf(async (signal) => {
      await Promise.all([
        ...MANY.map(() => fl.state().get("k", { signal })),
        ...MANY.map(() => fl.raw.runtime.sayHello({ serviceName: "helloworld" }, { signal })),
      ]);
    });
    const single = await warningsOf(async (signal) => {
      await Promise.all([
        ...MANY.map(() => state.get("k", { signal })),
        ...MANY.map((i) => lock.withLock(`${i}`, () => {}, { signal })),
      ]);
    });
    const direct = await warningsOf(async (signal) => {
      if (isOurs) await Promise.all(MANY.map(() => raw.sayHello({ serviceName: "helloworld" }, { signal })));
    });
    assert.deepEqual([warnings, single, direct], [[], [], []]);
  });

  test("streams and waiting calls cause none either", async () => {
    await using at = await open();
    await using fl = createClient(at.transport, { closeTransport: false });
    const log = createLog(at.transport);
    await createLog(at.server.transport()).append("x");
    const raw = createRawClient(LogService, at.transport);
    const warnings = await warningsOf(async (signal) => {
      const followers = MANY.flatMap(() => [log.read({ signal }), fl.log().read({ signal })]);
      const configurations = await Promise.all(
        MANY.map(() => fl.configuration().open({ signal, fallback: {} })),
      );
      await Promise.all(followers.map((each) => each.next()));
      const waiting = followers.map((each) => each.next());
      const changes = configurations.map((each) => each.changes({ signal })[Symbol.asyncIterator]());
      for (const each of changes) void each.next();
      await Promise.all(followers.map((each) => each.return()));
      await Promise.all(waiting);
      for (const each of changes) await each.return?.();
      await Promise.all(configurations.map((each) => each.close()));
    });
    const direct = await warningsOf(async (signal) => {
      if (!isOurs) return;
      const headers = { "fairlead-follow": "false" };
      await Promise.all(
        MANY.map(async () => {
          for await (const _record of raw.consume({ offset: 0n }, { signal, headers }));
        }),
      );
    });
    assert.deepEqual([warnings, direct], [[], []]);
  });
});
