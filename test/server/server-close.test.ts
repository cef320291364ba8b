import assert from "node:assert/strict";
import { connect } from "node:net";
import { test, vi } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient } from "../../src/index.js";
import { createNodeTransport, type NodeTransportOptions } from "../../src/node.js";
import { createConnectHandler } from "../../src/node-http/connect-handler.js";
import { openPort } from "../../src/node-http/one-port.js";
import type { Logger } from "../../src/server/index.js";
import { failure } from "../decisions/failure.js";
import { overHttp } from "../support/protocols.js";

const open = overHttp((url) => createNodeTransport(url));

const PATH = "/spec.proto.runtime.v1.Runtime/GetFile";

/** A request for the file "big", as bytes. */
function download(...headers: string[]): Buffer {
  const json = Buffer.from('{"storeName":"default","name":"big"}');
  const body = Buffer.concat([Buffer.from([0, 0, 0, 0, json.length]), json]);
  const head = [
    `POST ${PATH} HTTP/1.1`,
    "content-type: application/connect+json",
    `content-length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${[...head, ...headers].join("\r\n")}\r\n\r\n`), body]);
}

test("a download that its caller leaves is logged as canceled at level debug, and nothing is printed", async () => {
  const printed = vi.spyOn(console, "error");
  const lines: unknown[] = [];
  const at = (level: keyof Logger) => (fields: object, message: string) =>
    void lines.push({ level, message, ...fields });
  const log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  try {
    await using server = await open({ log });
    await createClient(server.server.transport()).files().put("big", new Uint8Array(30_000_000));
    lines.length = 0;
    const leave = async (how: "end" | "destroy" | "resetAndDestroy") => {
      const caller = connect(Number(new URL(server.url).port), "127.0.0.1").on("error", () => {});
      caller.pause().write(download("host: localhost"));
      // Until the server waits for the caller to read.
      await new Promise((resolve) => setTimeout(resolve, 100));
      caller[how]();
      await new Promise((resolve) => setTimeout(resolve, 50));
      caller.destroy();
    };
    for (const how of ["end", "destroy", "resetAndDestroy"] as const) await leave(how);
    await vi.waitFor(() => assert.equal(lines.length, 3));
    for (const line of lines as Record<string, unknown>[]) {
      assert.deepEqual([line["level"], line["code"]], ["debug", "canceled"]);
    }
    assert.deepEqual(printed.mock.calls, []);
  } finally {
    printed.mockRestore();
  }
});

test("a request with a malformed host is refused, and the server continues", async () => {
  await using at = await open();
  const answered = async (first: string, ...headers: string[]) => {
    const caller = connect(Number(new URL(at.url).port), "127.0.0.1");
    caller.write(String(download(...headers, "connection: close")).replace("HTTP/1.1", first));
    let text = "";
    for await (const chunk of caller) text += String(chunk);
    return text;
  };
  assert.match(await answered("HTTP/1.0"), /^HTTP\/1\.1 400 [\s\S]*the host header must name a host/);
  assert.match(await answered("HTTP/1.1", "host: a b"), /^HTTP\/1\.1 400 /);
  assert.match(await answered("HTTP/1.1", "host: localhost"), /^HTTP\/1\.1 200 /);
});

for (const options of [{}, { httpVersion: "1.1" }] satisfies NodeTransportOptions[]) {
  test(`a response that fails midway is cut and logged, over HTTP/${options.httpVersion ?? "2"}`, async () => {
    const told: unknown[] = [];
    const cause = new Error("it broke");
    const breaking = async function* () {
      yield new Uint8Array(1);
      throw cause;
    };
    const answer = createConnectHandler({
      routes({ service, handlers }) {
        service(Runtime, {});
        for (const [i, handler] of handlers.entries()) {
          handlers[i] = Object.assign(
            async () => ({
              status: 200,
              header: new Headers({ "content-type": "application/connect+proto" }),
              body: breaking(),
            }),
            { ...handler },
          );
        }
      },
      onBroken: (error, method) => void told.push(method, (error as Error).cause),
    });
    const port = await openPort(answer, { host: "127.0.0.1", port: 0 });
    await using fl = createClient(createNodeTransport(port.url, options));
    await failure(fl.raw.runtime.getFile({ storeName: "default", name: "a" })[Symbol.asyncIterator]().next());
    assert.deepEqual(told, ["spec.proto.runtime.v1.Runtime/GetFile", cause]);
    await fl.close();
    await port.close(1000);
  });
}
