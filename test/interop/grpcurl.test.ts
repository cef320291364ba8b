import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, test } from "vitest";
import { createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { cert, key } from "../support/certificates.js";

const has = (program: string) => spawnSync(program, ["-version"]).error === undefined;

/** The folder of `go install`; "" if Go is not installed. */
const goBin = spawnSync("go", ["env", "GOPATH"], { encoding: "utf8" }).stdout?.trim() ?? "";
const found = ["grpcurl", join(goBin, "bin/grpcurl")].find(has);
const grpcurl = found ?? "";

const HOW = "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3";
if (!found) console.log(`skipped: no grpcurl; ${goBin ? HOW : `with Go: ${HOW}`}`);

/** Runs grpcurl and returns its output; `input` is the data of `-d @`. */
async function run(args: string[], input = ""): Promise<string> {
  const running = promisify(execFile)(grpcurl, args);
  running.child.stdin?.end(input);
  return (await running).stdout.trim();
}

const RUNTIME = "spec.proto.runtime.v1.Runtime";
const TOKEN = "a-token-of-16-characters";

const open = (config = {}) => listen(createServer({ platform: nodePlatform, config }), { port: 0 });

test(".ci/run installs the version that this test expects", () => {
  assert.ok(readFileSync(join(import.meta.dirname, "../../.ci/run"), "utf8").includes(HOW));
});

// Without Go nothing can install it, so the tests do not count as skipped.
const suite = found ? describe : goBin ? describe.skip : () => {};

suite("grpcurl without a schema", () => {
  test("lists and describes the services", async () => {
    await using at = await open();
    const address = `127.0.0.1:${at.port}`;
    const services = (await run(["-plaintext", address, "list"])).split("\n");
    assert.ok(services.includes(RUNTIME) && services.includes("atomix.pb.map.MapService"), String(services));
    const described = await run(["-plaintext", address, "describe", `${RUNTIME}.GetState`]);
    assert.match(described, /rpc GetState \( \.spec\.proto\.runtime\.v1\.GetStateRequest \)/);
  });

  test("calls: unary, with an Any, server stream, client stream, bidirectional stream, and failures", async () => {
    await using at = await open();
    const call = (method: string, data: object[], ...more: string[]) =>
      run(
        ["-plaintext", ...more, "-d", "@", `127.0.0.1:${at.port}`, method],
        data.map((each) => JSON.stringify(each)).join("\n"),
      );
    const any = { "@type": "type.googleapis.com/google.protobuf.StringValue", value: "x" };
    const hello = { serviceName: "helloworld", name: "Ada", data: any };
    assert.deepEqual(JSON.parse(await call(`${RUNTIME}/SayHello`, [hello])), {
      hello: "Hello, Ada",
      data: any,
    });
    const parts = ["aGVs", "bG8="].map((data) => ({ storeName: "default", name: "f", data }));
    await call(`${RUNTIME}/PutFile`, parts);
    assert.deepEqual(JSON.parse(await call(`${RUNTIME}/GetFile`, [{ storeName: "default", name: "f" }])), {
      data: "aGVsbG8=",
    });
    await call("atomix.log.LogService/Produce", [{ value: "aGk=" }], "-H", "fairlead-log: l");
    const record = await call(
      "atomix.log.LogService/Consume",
      [{}],
      "-H",
      "fairlead-log: l",
      "-H",
      "fairlead-follow: false",
    );
    assert.match(record, /"value": "aGk="/);
    const subscription = { initialRequest: { pubsubName: "default", topic: "t" } };
    assert.deepEqual(JSON.parse(await call(`${RUNTIME}/SubscribeTopicEvents`, [subscription])), {
      initialResponse: {},
    });
    const wrong = call(`${RUNTIME}/GetState`, [{ storeName: "nowhere", key: "k" }]);
    await assert.rejects(wrong, /Code: InvalidArgument[\s\S]*state store "nowhere" is not configured/);
  });

  test("over TLS, with a token", async () => {
    const rules = [{ primitive: "*", verbs: ["*"] }];
    const server = createServer({
      platform: nodePlatform,
      config: { access: { tokens: [{ token: TOKEN, subject: "a", rules }] } } as never,
    });
    await using at = await listen(server, { port: 0, tls: { key, cert } });
    const args = [
      "-cacert",
      join(import.meta.dirname, "../support/certificates/ca.pem"),
      `127.0.0.1:${at.port}`,
      "list",
    ];
    await assert.rejects(run(args), /Unauthenticated|a bearer token is required/);
    assert.match(await run(["-H", `authorization: Bearer ${TOKEN}`, ...args]), /spec\.proto\.runtime/);
  });
});
