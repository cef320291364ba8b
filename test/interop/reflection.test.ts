import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient as createRaw } from "@connectrpc/connect";
import { describe, test } from "vitest";
import {
  ServerReflection,
  type ServerReflectionRequest,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as OldServerReflection } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { openInProcess } from "../support/protocols.js";

type Asked = ServerReflectionRequest["messageRequest"];

const SERVICES = [
  "atomix.log.LogService",
  "atomix.map.GossipMapService",
  "atomix.pb.map.MapService",
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
  "spec.proto.runtime.v1.Lifecycle",
  "spec.proto.runtime.v1.Runtime",
];

/** Sends each of `questions` on one stream. */
async function ask(service: typeof ServerReflection, ...questions: Asked[]) {
  await using at = await openInProcess();
  const asked = (async function* () {
    for (const messageRequest of questions) yield { host: "h", messageRequest };
  })();
  const answers = [];
  for await (const answer of createRaw(service, at.transport).serverReflectionInfo(asked))
    answers.push(answer);
  assert.equal(answers.length, questions.length);
  for (const [i, { validHost, originalRequest }] of answers.entries()) {
    assert.equal(validHost, "h");
    assert.deepEqual(originalRequest?.messageRequest, questions[i]);
  }
  return answers.map(({ messageResponse }) => messageResponse);
}

const files = (answer: Awaited<ReturnType<typeof ask>>[number] | undefined): FileDescriptorProto[] => {
  assert.equal(answer?.case, "fileDescriptorResponse");
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
};

for (const [version, service] of [
  ["v1", ServerReflection],
  ["v1alpha", OldServerReflection as unknown as typeof ServerReflection],
] as const) {
  describe(version, () => {
    test("lists every service", async () => {
      const [answer] = await ask(service, { case: "listServices", value: "*" });
      assert.equal(answer?.case, "listServicesResponse");
      assert.deepEqual(
        answer.value.service.map(({ name }) => name),
        SERVICES,
      );
    });

    test("a service's file is sent with all its imports, and they are a complete schema", async () => {
      for (const name of SERVICES) {
        const [answer] = await ask(service, { case: "fileContainingSymbol", value: name });
        const found = files(answer);
        // A registry needs each file after those that it imports.
        const file = new Set<FileDescriptorProto>();
        const add = (path?: string) => {
          const each = found.find(({ name }) => name === path);
          assert.ok(each, `${path} is missing`);
          each.dependency.forEach(add);
          file.add(each);
        };
        add(found[0]?.name);
        assert.equal(file.size, found.length);
        const registry = createFileRegistry({
          $typeName: "google.protobuf.FileDescriptorSet",
          file: [...file],
        });
        assert.ok(registry.getService(name), name);
      }
    });

    test("finds services, methods, messages, fields, oneofs, enums and their values", async () => {
      const runtime = "spec.proto.runtime.v1";
      const symbols = [
        `${runtime}.Runtime.GetState`,
        `${runtime}.GetStateRequest`,
        `${runtime}.GetStateRequest.store_name`,
        `${runtime}.SubscribeTopicEventsRequest.subscribe_topic_events_request_type`,
        `${runtime}.UnlockResponse.Status`,
        `${runtime}.UnlockResponse.SUCCESS`,
      ];
      for (const value of symbols) {
        const [answer] = await ask(service, { case: "fileContainingSymbol", value });
        assert.equal(files(answer)[0]?.name, "spec/proto/runtime/v1/runtime.proto", value);
      }
    });

    test("a file that a stream has sent is sent again only if it is requested", async () => {
      const runtime: Asked = { case: "fileByFilename", value: "spec/proto/runtime/v1/runtime.proto" };
      const any: Asked = { case: "fileByFilename", value: "google/protobuf/any.proto" };
      const [first, again, imported] = (await ask(service, runtime, runtime, any)).map((answer) =>
        files(answer).map(({ name }) => name),
      );
      assert.equal(first?.[0], "spec/proto/runtime/v1/runtime.proto");
      assert.ok(first?.includes("google/protobuf/any.proto"));
      assert.deepEqual(again, ["spec/proto/runtime/v1/runtime.proto"]);
      assert.deepEqual(imported, ["google/protobuf/any.proto"]);
    });

    test("a missing symbol has its own error, and the stream continues", async () => {
      const answers = await ask(
        service,
        { case: "fileContainingSymbol", value: "no.Such" },
        { case: "fileByFilename", value: "no.proto" },
        { case: "allExtensionNumbersOfType", value: "no.Such" },
        { case: undefined },
        { case: "allExtensionNumbersOfType", value: "spec.proto.runtime.v1.GetStateRequest" },
      );
      const errors = answers.slice(0, 4).map((answer) => answer.case === "errorResponse" && answer.value);
      assert.deepEqual(
        errors.map((error) => error && [error.errorCode, error.errorMessage]),
        [
          [Code.NotFound, 'no symbol "no.Such"'],
          [Code.NotFound, 'no file "no.proto"'],
          [Code.NotFound, 'no message "no.Such"'],
          [Code.InvalidArgument, "message_request must be set"],
        ],
      );
      assert.equal(answers[4]?.case, "allExtensionNumbersResponse");
      assert.deepEqual(answers[4].value.extensionNumber, []);
    });
  });
}

describe("buf curl without a schema", () => {
  const buf = join(import.meta.dirname, "../../node_modules/.bin/buf");

  async function curl(url: string, ...args: string[]) {
    const { stdout } = await promisify(execFile)(buf, ["curl", "--http2-prior-knowledge", ...args, url]);
    return stdout.trim();
  }
  const open = () => listen(createServer({ platform: nodePlatform }), { port: 0 });

  test("lists the services and their methods", async () => {
    await using at = await open();
    assert.deepEqual((await curl(at.url, "--list-services")).split("\n"), SERVICES);
    const methods = (await curl(at.url, "--list-methods")).split("\n");
    assert.equal(methods.length, 39);
    assert.ok(methods.includes("spec.proto.runtime.v1.Runtime/GetState"));
  });

  // One call of each service, with the protocols and the versions of reflection in turn.
  const header = { protocol: { name: "p" }, primitive: { name: "m" }, partition: 1 };
  const calls: [method: string, request: object, answer: RegExp, ...args: string[]][] = [
    ["spec.proto.runtime.v1.Runtime/SayHello", { serviceName: "helloworld", name: "Ada" }, /"Hello, Ada"/],
    [
      "spec.proto.runtime.v1.Runtime/ListFile",
      { request: { storeName: "default" } },
      /^\{\}$/,
      "--protocol",
      "grpc",
    ],
    [
      "spec.proto.runtime.v1.Lifecycle/ApplyConfiguration",
      { componentConfig: { kind: "hello", name: "helloworld", metadata: { greeting: "Hi" } } },
      /^\{/,
      "--protocol",
      "grpcweb",
    ],
    ["atomix.log.LogService/Produce", { value: "aGk=" }, /^\{\}$/, "--reflect-protocol", "grpc-v1alpha"],
    ["atomix.pb.map.MapService/Put", { header, key: "k", value: { value: "aGk=" } }, /"version"/],
    ["atomix.map.GossipMapService/Connect", {}, /^$|^\{/, "--protocol", "grpc"],
    ["grpc.health.v1.Health/Check", {}, /"SERVING"/, "--protocol", "grpc"],
  ];
  for (const [method, request, answer, ...args] of calls) {
    test(`${method} ${args.join(" ")}`, async () => {
      await using at = await open();
      const out = await curl(`${at.url}/${method}`, "--data", JSON.stringify(request), ...args).catch(
        ({ stderr }: { stderr: string }) => stderr,
      );
      assert.match(out, answer);
    });
  }

  test("an Any holds any message of the contract, google.rpc or the well-known types, in both directions", async () => {
    await using at = await open();
    const values = [
      { "@type": "type.googleapis.com/google.protobuf.StringValue", value: "x" },
      { "@type": "type.googleapis.com/google.protobuf.Struct", value: { a: [1, null, "b"] } },
      { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "R", domain: "d" },
      { "@type": "type.googleapis.com/spec.proto.runtime.v1.GetStateRequest", storeName: "s", key: "k" },
      { "@type": "type.googleapis.com/atomix.primitive.Name", name: "n" },
    ];
    const url = `${at.url}/spec.proto.runtime.v1.Runtime/SayHello`;
    for (const data of values) {
      const request = JSON.stringify({ serviceName: "helloworld", data });
      const byReflection = JSON.parse(await curl(url, "--data", request)) as { data: unknown };
      assert.deepEqual(byReflection.data, data);
      // The server's JSON, without buf.
      for (const init of [
        { method: "POST", headers: { "content-type": "application/json" }, body: request },
      ]) {
        assert.deepEqual(((await (await fetch(url, init)).json()) as { data: unknown }).data, data);
      }
      const get = `${url}?connect=v1&encoding=json&message=${encodeURIComponent(request)}`;
      assert.deepEqual(((await (await fetch(get)).json()) as { data: unknown }).data, data);
    }
  });
});
