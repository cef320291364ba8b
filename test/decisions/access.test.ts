import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { withToken } from "../../src/index.js";
import type { ConfigInput } from "../../src/server/index.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

const TOKEN = "reader-0123456789";

async function open() {
  const at = await openInProcess({
    config: {
      state: { default: {}, carts: {} },
      access: {
        tokens: [
          {
            token: TOKEN,
            subject: "reader",
            rules: [{ primitive: "state", store: "carts", verbs: ["read"] }],
          },
        ],
      },
    },
  });
  const transport = at.server.transport({ trusted: false });
  const as = (token?: string) =>
    createClient(Runtime, token === undefined ? transport : withToken(transport, token));
  return { as, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

test("the caller has no or a bad credential / may not do this: none is unauthenticated, with what to send", async () => {
  await using at = await open();
  const error = await failure(at.as().getState({ storeName: "carts", key: "k" }));
  assert.equal(error.code, Code.Unauthenticated);
  assert.equal(error.rawMessage, 'a bearer token is required, in the header "authorization: Bearer <token>"');
  assert.equal(error.metadata.get("www-authenticate"), 'Bearer realm="fairlead"');
});

test("the caller has no or a bad credential / may not do this: a bad one is unauthenticated, and not quoted", async () => {
  await using at = await open();
  const error = await failure(at.as("guessed-0123456789").getState({ storeName: "carts", key: "k" }));
  assert.equal(error.code, Code.Unauthenticated);
  assert.equal(error.rawMessage, "the bearer token is not one that this server knows");
  assert.equal(error.metadata.get("www-authenticate"), 'Bearer realm="fairlead", error="invalid_token"');
  const malformed = at
    .as()
    .getState({ storeName: "carts", key: "k" }, { headers: { authorization: "Basic YTpi" } });
  const other = await failure(malformed);
  assert.equal(other.code, Code.Unauthenticated);
  assert.equal(other.rawMessage, 'the authorization header must be "Bearer <token>"');
});

test("the caller has no or a bad credential / may not do this: what no rule allows is permission_denied, naming it", async () => {
  await using at = await open();
  const reader = at.as(TOKEN);
  await reader.getState({ storeName: "carts", key: "k" });
  const state = { key: "k", value: new Uint8Array([1]) };
  const write = await failure(reader.saveState({ storeName: "carts", states: [state] }));
  assert.equal(write.code, Code.PermissionDenied);
  assert.equal(write.rawMessage, '"reader" may not write state (SaveState): no rule of its own allows it');
  assert.equal(write.metadata.get("www-authenticate"), 'Bearer realm="fairlead", error="insufficient_scope"');
  const store = await failure(reader.getState({ storeName: "default", key: "k" }));
  assert.equal(store.code, Code.PermissionDenied);
  assert.equal(
    store.rawMessage,
    '"reader" may not read state "default" (GetState): no rule of its own allows it',
  );
  const lock = await failure(
    reader.tryLock({ storeName: "default", resourceId: "r", lockOwner: "o", expire: 1 }),
  );
  assert.equal(lock.code, Code.PermissionDenied);
});

test("consumer groups: a group named like an app needs that app's right, another one a rule that covers it", async () => {
  const rule = (subject: string, ...rules: object[]) => ({
    token: `${subject}-0123456789abcdef`,
    subject,
    rules,
  });
  const read = { primitive: "pubsub", verbs: ["read"] };
  await using at = await openInProcess({
    config: {
      services: { billing: { url: "http://127.0.0.1:9" } },
      access: {
        tokens: [
          rule("reader", read),
          rule("billing", read, { primitive: "service", store: "billing", verbs: ["OnTopicEvent"] }),
          rule("reports", { ...read, group: "report-*" }),
        ],
      },
    } as ConfigInput,
  });
  const transport = at.server.transport({ trusted: false });
  /** The code that a subscription of `subject` to `group` is refused with; "taken" where it is not. */
  const join = async (subject: string, group: string) => {
    const runtime = createClient(Runtime, withToken(transport, `${subject}-0123456789abcdef`));
    const initial = { pubsubName: "default", topic: "t", metadata: { consumerGroup: group } };
    const requests = async function* () {
      yield { subscribeTopicEventsRequestType: { case: "initialRequest" as const, value: initial } };
    };
    try {
      for await (const _ of runtime.subscribeTopicEvents(requests()));
      return "taken";
    } catch (error) {
      return ConnectError.from(error).code;
    }
  };
  assert.equal(await join("reader", "billing"), Code.PermissionDenied);
  assert.equal(await join("billing", "billing"), "taken");
  assert.equal(await join("reader", "anything-else"), "taken");
  assert.equal(await join("reports", "report-daily"), "taken");
  assert.equal(await join("reports", "orders"), Code.PermissionDenied);
});
