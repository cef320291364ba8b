import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { RedactedSecret } from "../../src/client/secrets/store.js";
import { createSecrets } from "../../src/client/secrets.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

const config = {
  secrets: { vault: { type: "values", values: { db: "hunter2", empty: "", "ключ:🔑": "ü" } } },
} as const;

forEachProtocol("unary", (open) => {
  test("get() and getAll() give secrets that reveal() their values", async () => {
    await using at = await open({ config });
    const vault = createSecrets(at.transport, "vault");
    assert.equal((await vault.get("db"))?.reveal(), "hunter2");
    assert.equal((await vault.get("empty"))?.reveal(), "");
    assert.equal((await vault.get("ключ:🔑"))?.reveal(), "ü");
    assert.equal(await vault.get("nope"), undefined);
    const all = await vault.getAll();
    assert.deepEqual(
      [...all].map(([name, secret]) => [name, secret.reveal()]),
      [
        ["db", "hunter2"],
        ["empty", ""],
        ["ключ:🔑", "ü"],
      ],
    );
  });
});

test("a secret is [redacted] wherever it is printed, joined or copied", () => {
  const secret = new RedactedSecret("db", { db: "hunter2" });
  assert.equal(String(secret), "[redacted]");
  assert.equal(secret.toString(), "[redacted]");
  assert.equal(`x${secret}`, "x[redacted]");
  assert.equal(["a", secret].join(), "a,[redacted]");
  assert.equal(JSON.stringify({ secret }), '{"secret":"[redacted]"}');
  assert.equal(inspect(secret), "[redacted]");
  assert.equal(
    inspect({ deep: [secret] }, { showHidden: true, depth: 9 }),
    "{ deep: [ [redacted], [length]: 1 ] }",
  );
  assert.ok(Number.isNaN(Number(secret)));
  const everything = [
    JSON.stringify(structuredClone(secret)),
    inspect(structuredClone(secret), { showHidden: true }),
    inspect(secret, { customInspect: false, showHidden: true, depth: 9 }),
    JSON.stringify({ ...secret }),
    JSON.stringify(Object.getOwnPropertyDescriptors(secret)),
    new Error("with a cause", { cause: secret }).stack,
    inspect(new Error("with a cause", { cause: secret })),
  ];
  for (const text of everything) assert.doesNotMatch(String(text), /hunter2/);
});

test("reveal() of a secret with several values needs the name of one", () => {
  const secret = new RedactedSecret("db", { user: "ada", password: "hunter2" });
  assert.deepEqual(secret.parts, ["user", "password"]);
  assert.equal(secret.reveal("password"), "hunter2");
  assert.throws(() => secret.reveal(), new TypeError('Cannot reveal "db": its parts are user, password'));
  assert.throws(
    () => secret.reveal("x"),
    new TypeError('Cannot reveal part "x" of "db": its parts are user, password'),
  );
  assert.equal(new RedactedSecret("a", { only: "1" }).reveal(), "1");
  assert.equal(new RedactedSecret("a", { a: "1", b: "2" }).reveal(), "1");
});

test("an unknown store is an error and not a missing secret", async () => {
  await using at = await openInProcess({ config });
  const nope = createSecrets(at.transport, "nope");
  await assert.rejects(nope.get("db"), { code: Code.InvalidArgument });
  await assert.rejects(nope.getAll(), { code: Code.InvalidArgument });
});

test("a file store shows what is in the file now", async () => {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-secrets-"));
  const path = join(folder, "secrets.json");
  await writeFile(path, '{"db":{"password":"one"}}');
  await using at = await openInProcess({ config: { secrets: { vault: { type: "file", path } } } });
  const vault = createSecrets(at.transport, "vault");
  const read = async () => (await vault.get("db:password"))?.reveal();
  assert.equal(await read(), "one");
  await writeFile(path, '{"db":{"password":"two"}}');
  assert.equal(await read(), "two");
  await rm(folder, { recursive: true });
  await assert.rejects(vault.get("db:password"), { code: Code.Unavailable });
});

test("64 reads at once of one file are all answered", async () => {
  let reads = 0;
  const readFile = async () => {
    reads++;
    return '{"a":1}';
  };
  await using at = await openInProcess({
    config: { secrets: { vault: { type: "file", path: "x" } } },
    platform: { readFile },
  });
  const vault = createSecrets(at.transport, "vault");
  const found = await Promise.all(Array.from({ length: 64 }, () => vault.get("a")));
  assert.ok(found.every((secret) => secret?.reveal() === "1"));
  assert.equal(reads, 64);
});

test("get() gives up when its signal aborts", async () => {
  const giveUp = new AbortController();
  const readFile = () => new Promise<string>(() => giveUp.abort());
  await using at = await openInProcess({
    config: { secrets: { vault: { type: "file", path: "x" } } },
    platform: { readFile },
  });
  const { signal } = giveUp;
  await assert.rejects(createSecrets(at.transport, "vault").get("a", { signal }), { code: Code.Canceled });
});

/** The Go runtime, as far as its secrets go. */
function go(getSecret: () => Record<string, string>) {
  return createRouterTransport((router) => {
    router.rpc(Runtime.method.getSecret, () => ({ data: getSecret() }));
    router.rpc(Runtime.method.getBulkSecret, () => ({
      data: { db: { secrets: { user: "ada", password: "hunter2" } } },
    }));
  });
}

test('get() from a Go runtime reads "" as absent, which its env store says of a missing variable', async () => {
  assert.equal(
    await createSecrets(
      go(() => ({ HOME: "" })),
      "env",
    ).get("HOME"),
    undefined,
  );
  assert.equal(
    (
      await createSecrets(
        go(() => ({ HOME: "/" })),
        "env",
      ).get("HOME")
    )?.reveal(),
    "/",
  );
});

test("get() from a Go runtime reads its internal error for a missing secret as absent", async () => {
  const missing = go(() => {
    const text = "failed getting secret with key db from secret store vault: secret db not found";
    throw new ConnectError(text, Code.Internal);
  });
  assert.equal(await createSecrets(missing, "vault").get("db"), undefined);
  const none = go(() => {
    throw new ConnectError("error when get secret but not find configured", Code.FailedPrecondition);
  });
  await assert.rejects(createSecrets(none, "vault").get("db"), { code: Code.InvalidArgument });
});

test("secrets with several values, as Kubernetes has them, keep them all", async () => {
  const vault = createSecrets(
    go(() => ({ user: "ada", password: "hunter2" })),
    "kubernetes",
  );
  assert.equal((await vault.get("db"))?.reveal("password"), "hunter2");
  assert.equal((await vault.getAll()).get("db")?.reveal("user"), "ada");
});
