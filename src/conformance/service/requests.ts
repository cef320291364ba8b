import { HTTPExtension_Verb as Verb } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { HTTP_PREFIX } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { ESCAPING_PATHS } from "../escaping-paths.js";
import { equal } from "../expect.js";
import { expectMalformed } from "../expect-refusal.js";
import type { ServiceCall, ServiceCalls } from "./calls.js";

export function methodCases(on: DeclareCase<ServiceCalls>): void {
  const methods: [description: string, call: ServiceCall, asked: string][] = [
    ["no verb and no data", {}, "GET "],
    ["no verb and data", { data: "x" }, "POST x"],
    ["no verb and empty data", { data: "" }, "POST "],
    ["NONE and no data", { verb: Verb.NONE }, "GET "],
    ["NONE and data", { verb: Verb.NONE, data: "x" }, "POST x"],
    ["GET", { verb: Verb.GET }, "GET "],
    ["GET and data", { verb: Verb.GET, data: "x" }, "GET x"],
    ["POST and data", { verb: Verb.POST, data: "x" }, "POST x"],
    ["PUT and data", { verb: Verb.PUT, data: "x" }, "PUT x"],
    ["PATCH and data", { verb: Verb.PATCH, data: "x" }, "PATCH x"],
    ["DELETE", { verb: Verb.DELETE }, "DELETE "],
    ["OPTIONS", { verb: Verb.OPTIONS }, "OPTIONS "],
  ];
  for (const [description, call, expected] of methods) {
    on(["InvokeService", "mirror"], `with ${description} the app is asked ${expected.trim()}`, async (at) => {
      const { method, body } = await at.invokeMirror("/", call);
      equal(`${method} ${body}`, expected);
    });
  }

  on(["InvokeService", "mirror"], "HEAD has headers to answer with, and no body", async (at) => {
    const { text, headers } = await at.invoke("/", { verb: Verb.HEAD });
    equal([text, headers.get(`${HTTP_PREFIX}x-asked`)], ["", "HEAD"]);
  });

  on(
    ["InvokeService", "mirror"],
    "data with a method that has no body is invalid_argument, and so is CONNECT",
    async (at) => {
      for (const verb of [Verb.HEAD, Verb.TRACE]) {
        await expectMalformed(at.invoke("/", { verb, data: "x" }), "message.http_extension.verb");
      }
      await expectMalformed(at.invoke("/", { verb: Verb.CONNECT }), "message.http_extension.verb");
    },
  );
}

export function requestTargetCases(on: DeclareCase<ServiceCalls>): void {
  on(
    ["InvokeService", "mirror"],
    "method is a path below the configured URL, and the query goes with it",
    async (at) => {
      const base = (await at.invokeMirror("/")).url.replace(/\/$/, "");
      equal((await at.invokeMirror("/items/7")).url, `${base}/items/7`);
      equal((await at.invokeMirror("items", { query: "a=%20&b=#c" })).url, `${base}/items?a=%20&b=%23c`);
      equal((await at.invokeMirror("items", { query: "?a=1" })).url, `${base}/items?a=1`);
      equal((await at.invokeMirror("items/7?x=1")).url, `${base}/items/7?x=1`);
      equal((await at.invokeMirror("items?x=a?b", { query: "y=2" })).url, `${base}/items?x=a?b&y=2`);
      for (const [path, url] of Object.entries({
        "@evil.example": "/@evil.example",
        "/items:batch": "/items:batch",
        "/a//b": "/a//b",
        "/ü": "/%C3%BC",
      })) {
        equal((await at.invokeMirror(path)).url, base + url, path);
      }
    },
  );

  on(["InvokeService", "mirror"], "the content type goes to the app", async (at) => {
    const { headers } = await at.invokeMirror("/", { data: "<a/>", type: "text/xml; charset=utf-8" });
    equal(headers["content-type"], "text/xml; charset=utf-8");
  });

  for (const path of ESCAPING_PATHS) {
    on(
      ["InvokeService", "mirror"],
      `no open proxy: the method ${JSON.stringify(path)} is invalid_argument`,
      async (at) => {
        await expectMalformed(at.invoke(path), "message.method");
      },
    );
  }
}
