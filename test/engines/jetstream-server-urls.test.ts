import assert from "node:assert/strict";
import { test } from "vitest";
import { parseServers } from "../../src/server/engines/jetstream/server-urls.js";

test("the credentials of URLs are taken out of them", () => {
  assert.deepEqual(parseServers(["nats://a:4222", "tls://b/"]), { urls: ["nats://a:4222", "tls://b"] });
  assert.deepEqual(parseServers(["nats://ada:p%40ss@a:4222", "nats://b:4222"]), {
    urls: ["nats://a:4222", "nats://b:4222"],
    login: { user: "ada", pass: "p@ss" },
  });
  assert.deepEqual(parseServers(["nats://b", "nats://secret@[::1]:4222"]), {
    urls: ["nats://b", "nats://[::1]:4222"],
    login: { token: "secret" },
  });
});

test("a wrong URL, and different credentials, are refused without the credentials", () => {
  for (const url of ["http://ada:secret@a", "a:4222", "nats://", "nats://a/x", "nats://a?x"]) {
    assert.throws(() => parseServers([url]), /servers has "[^"]*": it must be like nats:\/\/host:4222/, url);
    assert.throws(
      () => parseServers([url]),
      ({ message }: Error) => !message.includes("secret"),
    );
  }
  assert.throws(() => parseServers(["nats://a:x@h", "nats://b:x@h"]), /servers have different credentials/);
});
