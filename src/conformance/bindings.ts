import { Code } from "@connectrpc/connect";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../lib/utf8.js";
import { type Case, casesOf, type DeclareCase } from "./case.js";
import type { CaseContext } from "./case-context.js";
import { ESCAPING_PATHS } from "./escaping-paths.js";
import { equal, ok } from "./expect.js";
import {
  errorMetadata,
  expectLimit,
  expectMalformed,
  expectRefusal,
  expectUnconfigured,
  UNKNOWN_NAMES,
} from "./expect-refusal.js";
import type { MirrorRequest } from "./mirror.js";
import { LIMIT, MAX_VALUE_BYTES, REQUIRED, UNKNOWN } from "./rules.js";

function bindingCalls(context: CaseContext) {
  const runtime = context.client(Runtime);
  const { echo = "", mirror } = context.stores;
  const invoke = async (
    operation: string,
    metadata: Record<string, string> = {},
    data: string | Uint8Array = "",
    name = mirror?.binding ?? "",
  ) => {
    const bytes = typeof data === "string" ? utf8(data) : data;
    const answer = await runtime.invokeBinding({ name, operation, metadata, data: bytes });
    return { data: answer.data, text: fromUtf8(answer.data), metadata: { ...answer.metadata } };
  };
  const invokeMirror = async (...call: Parameters<typeof invoke>): Promise<MirrorRequest> =>
    JSON.parse((await invoke(...call)).text);
  return { ...context, runtime, echo, invoke, invokeMirror };
}

type BindingCalls = ReturnType<typeof bindingCalls>;

/** The cases of bindings. */
export const bindingCases: readonly Case[] = casesOf("bindings", bindingCalls, [
  echoCases,
  methodCases,
  pathCases,
  headerCases,
  responseCases,
]);

function echoCases(on: DeclareCase<BindingCalls>): void {
  on(["InvokeBinding", "echo binding"], "echo answers what was sent, for any operation", async (at) => {
    for (const operation of ["create", "any Operation at all", "__proto__"]) {
      const { text, metadata } = await at.invoke(operation, { a: "1", Host: "x" }, "data", at.echo);
      equal([text, metadata], ["data", { a: "1", Host: "x" }]);
    }
  });

  on(["InvokeBinding", "echo binding"], "echo gives bytes back as they are", async (at) => {
    const data = Uint8Array.from({ length: 256 }, (_, i) => i);
    equal((await at.invoke("x", {}, data, at.echo)).data, data);
    equal((await at.invoke("x", {}, "", at.echo)).data.length, 0);
  });

  on([REQUIRED, "echo binding"], "InvokeBinding needs a name and an operation", async (at) => {
    await expectMalformed(at.invoke("get", {}, "", ""), "name", "no name");
    await expectMalformed(at.runtime.invokeBinding({ name: "", operation: "x" }), "name");
    await expectMalformed(at.invoke("", {}, "", at.echo), "operation");
  });

  on(UNKNOWN, "a binding that is not configured is invalid_argument, naming it", async (at) => {
    for (const name of [...UNKNOWN_NAMES, "http", "http://127.0.0.1:1"]) {
      await expectUnconfigured(at.invoke("get", {}, "", name), "binding", name);
    }
  });
}

function methodCases(on: DeclareCase<BindingCalls>): void {
  const methods = {
    create: "POST",
    get: "GET",
    post: "POST",
    put: "PUT",
    patch: "PATCH",
    delete: "DELETE",
    options: "OPTIONS",
  };
  for (const [operation, method] of Object.entries(methods)) {
    const hasBody = ["POST", "PUT", "PATCH"].includes(method);
    on(
      ["InvokeBinding", "mirror"],
      `the operation ${operation} is ${method}, ${hasBody ? "with" : "without"} a body`,
      async (at) => {
        const request = await at.invokeMirror(operation, {}, "body");
        equal([request.method, request.body], [method, hasBody ? "body" : ""]);
        equal(request.headers["content-type"], hasBody ? "application/json" : undefined);
        equal(request.headers["accept"], "application/json");
      },
    );
  }

  on(
    ["InvokeBinding", "mirror"],
    "the operation head is HEAD, which has no body to answer with",
    async (at) => {
      const { text, metadata } = await at.invoke("head");
      equal([text, metadata["X-Asked"], metadata["statusCode"]], ["", "HEAD", "200"]);
    },
  );

  for (const operation of ["Get", "GET", "connect", "list", "__proto__"]) {
    on(
      ["InvokeBinding", "mirror"],
      `the operation "${operation}" is none, and invalid_argument`,
      async (at) => {
        await expectMalformed(at.invoke(operation), "operation");
      },
    );
  }
}

function pathCases(on: DeclareCase<BindingCalls>): void {
  on(["InvokeBinding", "mirror"], "path is appended to the configured URL, with its query", async (at) => {
    const base = (await at.invokeMirror("get")).url.replace(/\/$/, "");
    for (const [path, url] of Object.entries({
      "a/b": "/a/b",
      "/a b/ü": "/a%20b/%C3%BC",
      "a?x=1&y=?": "/a?x=1&y=?",
      "...": "/...",
      "a..b": "/a..b",
      "100%25": "/100%25",
    })) {
      equal((await at.invokeMirror("get", { path })).url, base + url, path);
    }
  });

  for (const path of ESCAPING_PATHS) {
    on(
      ["InvokeBinding", "mirror"],
      `the path ${JSON.stringify(path)} leads out of the configured URL, and is invalid_argument`,
      async (at) => {
        await expectMalformed(at.invoke("get", { path }), 'metadata["path"]');
      },
    );
  }
}

function headerCases(on: DeclareCase<BindingCalls>): void {
  on(
    ["InvokeBinding", "mirror"],
    "metadata that begins with an upper-case letter becomes headers",
    async (at) => {
      const own = { "X-Mark": "1", Accept: "text/plain", "Content-Type": "a/b" };
      const { headers } = await at.invokeMirror("post", { ...own, small: "2", "x-small": "3" }, "x");
      equal([headers["x-mark"], headers["accept"], headers["content-type"]], ["1", "text/plain", "a/b"]);
      equal([headers["small"], headers["x-small"]], [undefined, undefined]);
    },
  );

  for (const name of [
    "Host",
    "Connection",
    "Transfer-Encoding",
    "Content-Length",
    "Te",
    "Upgrade",
    "Expect",
  ]) {
    on(
      ["InvokeBinding", "mirror"],
      `the header ${name} is the connection's own, and invalid_argument`,
      async (at) => {
        const error = await expectRefusal(at.invoke("post", { [name]: "1" }), Code.InvalidArgument);
        ok(error.rawMessage.includes(name), `it is named: ${error.rawMessage}`);
      },
    );
  }

  on(
    ["InvokeBinding", "mirror"],
    "a malformed header is invalid_argument, and its value is not in the error",
    async (at) => {
      for (const [name, value] of [
        ["X-A", "s3cr3t\r\nX-B: 1"],
        ["X A", "s3cr3t"],
        ["X:", "s3cr3t"],
      ] as const) {
        const error = await expectRefusal(at.invoke("post", { [name]: value }), Code.InvalidArgument, name);
        ok(
          !JSON.stringify([error.message, error.details]).includes("s3cr3t"),
          "the value is not in the error",
        );
      }
    },
  );
}

function responseCases(on: DeclareCase<BindingCalls>): void {
  on(["InvokeBinding", "mirror"], "the answer's status and headers are metadata", async (at) => {
    const { text, metadata } = await at.invoke("get", { path: "status/202" });
    equal([text, metadata["statusCode"], metadata["X-Mirror"]], ["why", "202", "1"]);
    equal([metadata["Content-Type"], metadata["Set-Cookie"]], ["text/x", "a=1"]);
    ok(metadata["status"]?.startsWith("202"), `status: ${metadata["status"]}`);
    for (const name of ["Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length"]) {
      equal(metadata[name], undefined, name);
    }
  });

  const codes: [status: number, code: Code][] = [
    [302, Code.FailedPrecondition],
    [304, Code.FailedPrecondition],
    [400, Code.InvalidArgument],
    [401, Code.PermissionDenied],
    [403, Code.PermissionDenied],
    [404, Code.NotFound],
    [409, Code.Aborted],
    [412, Code.Aborted],
    [422, Code.InvalidArgument],
    [429, Code.ResourceExhausted],
    [500, Code.Internal],
    [501, Code.Unimplemented],
    [503, Code.Unavailable],
  ];
  for (const [status, code] of codes) {
    on(
      ["InvokeBinding", "mirror"],
      `the answer ${status} is an error, unless errorIfNot2XX is false`,
      async (at) => {
        const path = `status/${status}`;
        const error = await expectRefusal(at.invoke("get", { path }), code);
        equal(errorMetadata(error)?.["statusCode"], String(status));
        const { metadata, text } = await at.invoke("get", { path, errorIfNot2XX: "false" });
        equal([metadata["statusCode"], text], [String(status), status === 304 ? "" : "why"]);
      },
    );
  }

  on(["InvokeBinding", "mirror"], "errorIfNot2XX must be true or false", async (at) => {
    await expectMalformed(at.invoke("get", { errorIfNot2XX: "no" }), 'metadata["errorIfNot2XX"]');
  });

  on(
    [LIMIT, "mirror", "extensions"],
    "an answer above the limit is resource_exhausted, naming valueBytes",
    async (at) => {
      await expectLimit(at.invoke("get", { path: `bytes/${MAX_VALUE_BYTES + 1}` }), "valueBytes");
      equal((await at.invoke("get", { path: "bytes/100000" })).data.length, 100_000);
    },
  );
}
