import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { test } from "vitest";
import { createHello } from "../../src/client/hello.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

forEachProtocol("unary", (open) => {
  test("say() greets by name, and without one", async () => {
    await using at = await open({ config: { hello: { helloworld: {}, formal: { greeting: "Good day" } } } });
    const hello = createHello(at.transport);
    assert.equal(await hello.say("Ada"), "Hello, Ada");
    assert.equal(await hello.say(), "Hello");
    assert.equal(await createHello(at.transport, "formal").say("Bob 🙂"), "Good day, Bob 🙂");
  });
});

test("say() of an instance that is not configured names those that are", async () => {
  await using at = await openInProcess();
  await assert.rejects(createHello(at.transport, "nope").say("Ada"), {
    code: Code.InvalidArgument,
    rawMessage: 'hello "nope" is not configured; configured: "helloworld"',
  });
});
