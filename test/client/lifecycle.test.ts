import assert from "node:assert/strict";
import { Code, createRouterTransport } from "@connectrpc/connect";
import { test } from "vitest";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { createHello } from "../../src/client/hello.js";
import { createLifecycle } from "../../src/client/lifecycle.js";
import { createService } from "../../src/client/service.js";
import { httpApp } from "../support/http-app.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

forEachProtocol("unary", (open) => {
  test("apply() changes a greeting for the calls that come after", async () => {
    await using at = await open();
    const hello = createHello(at.transport);
    assert.equal(await hello.say("Ada"), "Hello, Ada");
    await createLifecycle(at.transport).apply("hello", "helloworld", { greeting: "Ahoy" });
    assert.equal(await hello.say("Ada"), "Ahoy, Ada");
  });
});

test("apply() moves a service to another address", async () => {
  await using old = await httpApp((_asked, response) => response.end('"old"'));
  await using young = await httpApp((_asked, response) => response.end('"young"'));
  await using at = await openInProcess({ config: { services: { inventory: { url: old.url } } } });
  const inventory = createService(at.transport, "inventory");
  assert.equal(await inventory.call("/"), "old");
  await createLifecycle(at.transport).apply("services", "inventory", { url: young.url });
  assert.equal(await inventory.call("/"), "young");
});

test("apply() of what cannot change says what can", async () => {
  await using at = await openInProcess();
  const lifecycle = createLifecycle(at.transport);
  await assert.rejects(lifecycle.apply("state", "default", { a: "b" }), {
    code: Code.InvalidArgument,
    rawMessage:
      'component_config.kind "state": cannot change at run time; those that can are hello, pubsub, sequencer, logs, services, bindings',
  });
  await assert.rejects(lifecycle.apply("hello", "nope", { greeting: "x" }), /configured: "helloworld"/);
});

test("apply() 64 times at once leaves one of the settings whole", async () => {
  await using at = await openInProcess();
  const lifecycle = createLifecycle(at.transport);
  const greetings = Array.from({ length: 64 }, (_, i) => `greeting ${i}`);
  await Promise.all(greetings.map((greeting) => lifecycle.apply("hello", "helloworld", { greeting })));
  assert.ok(greetings.includes(await createHello(at.transport).say()));
});

test("apply() calls kinds and the greeting as the Go runtime does, which a Fairlead server knows too", async () => {
  const seen: unknown[] = [];
  const go = createRouterTransport((router) => {
    router.rpc(Lifecycle.method.applyConfiguration, ({ componentConfig }) => {
      seen.push([componentConfig?.kind, componentConfig?.name, { ...componentConfig?.metadata }]);
      return {};
    });
  });
  const lifecycle = createLifecycle(go);
  await lifecycle.apply("hello", "helloworld", { greeting: "Hi" });
  await lifecycle.apply("pubsub", "default", { maxDeliveries: "3" });
  await lifecycle.apply("custom_component.mine", "x", { greeting: "kept" });
  assert.deepEqual(seen, [
    ["hellos", "helloworld", { hello: "Hi" }],
    ["pub_subs", "default", { maxDeliveries: "3" }],
    ["custom_component.mine", "x", { greeting: "kept" }],
  ]);
});
