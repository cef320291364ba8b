import { Code, ConnectError } from "@connectrpc/connect";
import { Runtime, HTTPExtension_Verb as Verb } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../lib/utf8.js";
import { FENCE_HEADER, HTTP_PREFIX, HTTP_STATUS_HEADER } from "../rpc/extension-headers.js";
import { type Case, casesOf, type DeclareCase } from "./case.js";
import type { CaseContext } from "./case-context.js";
import { ESCAPING_PATHS } from "./escaping-paths.js";
import { equal, ok } from "./expect.js";
import {
  expectLimit,
  expectMalformed,
  expectRefusal,
  expectUnconfigured,
  UNKNOWN_NAMES,
} from "./expect-refusal.js";
import type { MirrorRequest } from "./mirror.js";
import { LIMIT, MOST_BYTES, REQUIRED, UNKNOWN } from "./rules.js";

interface Call {
  verb?: Verb;
  query?: string;
  data?: string;
  type?: string;
  headers?: HeadersInit;
  id?: string;
}

function serviceCalls(bench: CaseContext) {
  const runtime = bench.client(Runtime);
  const service = bench.stores.mirror?.service ?? "";
  const invoke = async (
    method: string,
    { verb, query, data, type, headers: own, id = service }: Call = {},
  ) => {
    let headers = new Headers();
    const onHeader = (told: Headers) => {
      headers = told;
    };
    const httpExtension = { verb: verb ?? Verb.NONE, querystring: query ?? "" };
    const message = {
      method,
      contentType: type ?? "",
      ...(data !== undefined && { data: { value: utf8(data) } }),
      ...((verb !== undefined || query !== undefined) && { httpExtension }),
    };
    const answer = await runtime.invokeService({ id, message }, { onHeader, ...(own && { headers: own }) });
    return { ...answer, headers, text: fromUtf8(answer.data?.value ?? new Uint8Array()) };
  };
  const asked = async (method: string, call?: Call): Promise<MirrorRequest> =>
    JSON.parse((await invoke(method, call)).text);
  return { ...bench, runtime, service, invoke, asked };
}

type ServiceCalls = ReturnType<typeof serviceCalls>;

/** What must hold of invocation. */
export const serviceCases: readonly Case[] = casesOf("service", serviceCalls, [
  methodCases,
  requestTargetCases,
  forwardedHeaderCases,
  prefixedHeaderCases,
  responseCases,
  appInvocationCases,
  appAvailabilityCases,
  invocationRefusalCases,
]);

function methodCases(on: DeclareCase<ServiceCalls>): void {
  const methods: [what: string, call: Call, asked: string][] = [
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
  for (const [what, call, expected] of methods) {
    on(["InvokeService", "mirror"], `with ${what} the app is asked ${expected.trim()}`, async (at) => {
      const { method, body } = await at.asked("/", call);
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

function requestTargetCases(on: DeclareCase<ServiceCalls>): void {
  on(
    ["InvokeService", "mirror"],
    "method is a path below the configured URL, and the query goes with it",
    async (at) => {
      const base = (await at.asked("/")).url.replace(/\/$/, "");
      equal((await at.asked("/items/7")).url, `${base}/items/7`);
      equal((await at.asked("items", { query: "a=%20&b=#c" })).url, `${base}/items?a=%20&b=%23c`);
      equal((await at.asked("items", { query: "?a=1" })).url, `${base}/items?a=1`);
      equal((await at.asked("items/7?x=1")).url, `${base}/items/7?x=1`);
      equal((await at.asked("items?x=a?b", { query: "y=2" })).url, `${base}/items?x=a?b&y=2`);
      for (const [path, url] of Object.entries({
        "@evil.example": "/@evil.example",
        "/items:batch": "/items:batch",
        "/a//b": "/a//b",
        "/ü": "/%C3%BC",
      })) {
        equal((await at.asked(path)).url, base + url, path);
      }
    },
  );

  on(["InvokeService", "mirror"], "the content type goes to the app", async (at) => {
    const { headers } = await at.asked("/", { data: "<a/>", type: "text/xml; charset=utf-8" });
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

function forwardedHeaderCases(on: DeclareCase<ServiceCalls>): void {
  on(["InvokeService", "mirror"], "the app gets the call's headers", async (at) => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const { headers } = await at.asked("/", { headers: { "x-mark": "1", traceparent } });
    equal([headers["x-mark"], headers["traceparent"]], ["1", traceparent]);
  });

  on(
    ["InvokeService", "mirror", "extensions"],
    "what only a proxy can know does not come from the caller",
    async (at) => {
      const names = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
      const said = names.flatMap((name): [string, string][] => [
        [name, "evil.example"],
        [`${HTTP_PREFIX}${name}`, "evil.example"],
      ]);
      const { headers } = await at.asked("/", { headers: said });
      for (const name of names) ok(headers[name] !== "evil.example", `${name} stays behind`);
    },
  );

  on(["InvokeService", "mirror"], "headers that are the call's own do not go to the app", async (at) => {
    const own = {
      cookie: "session=server",
      origin: "http://localhost:5173",
      [FENCE_HEADER]: `${at.stores.lock}/r=1`,
      "x-grpc-web": "1",
      "sec-fetch-site": "cross-site",
    };
    const { headers } = await at.asked("/", { headers: own });
    for (const [name, value] of Object.entries(own)) ok(headers[name] !== value, `${name} stays behind`);
    equal(
      Object.keys(headers).filter((name) => /^(connect|fairlead|grpc)-/.test(name)),
      [],
    );
  });
}

function prefixedHeaderCases(on: DeclareCase<ServiceCalls>): void {
  on(
    ["InvokeService", "mirror", "extensions"],
    "a header with the prefix fairlead-http- goes to the app without it",
    async (at) => {
      const { headers } = await at.asked("/", {
        headers: [
          [`${HTTP_PREFIX}authorization`, "Bearer app"],
          [`${HTTP_PREFIX}cookie`, "a=1"],
          [`${HTTP_PREFIX}x-mark`, "prefixed"],
          ["x-mark", "bare"],
        ],
      });
      equal(
        [headers["authorization"], headers["cookie"], headers["x-mark"]],
        ["Bearer app", "a=1", "prefixed"],
      );
    },
  );

  on(
    ["InvokeService", "mirror", "extensions"],
    "headers of the connection do not go to the app, with the prefix or without",
    async (at) => {
      const names = ["host", "connection", "content-length", "transfer-encoding", "te", "expect", "upgrade"];
      const smuggled = names.map((name): [string, string] => [`${HTTP_PREFIX}${name}`, "9"]);
      const { headers, body } = await at.asked("/", { data: "body", headers: smuggled });
      equal(body, "body");
      for (const name of names) ok(headers[name] !== "9", `${name}: ${headers[name]}`);
    },
  );
}

function responseCases(on: DeclareCase<ServiceCalls>): void {
  for (const status of [200, 201, 302, 400, 404, 418, 500, 503, 599]) {
    on(
      ["InvokeService", "mirror"],
      `the answer ${status} comes back, with its headers and body`,
      async (at) => {
        const { headers, text, contentType, data } = await at.invoke(`/status/${status}`);
        equal(headers.get(HTTP_STATUS_HEADER), String(status));
        equal([text, contentType, data?.typeUrl], ["why", "text/x", ""]);
        equal([headers.get(`${HTTP_PREFIX}x-mirror`), headers.get(`${HTTP_PREFIX}set-cookie`)], ["1", "a=1"]);
        equal(headers.get(`${HTTP_PREFIX}location`), "/elsewhere", "the redirect is not followed");
        for (const name of ["connection", "keep-alive", "transfer-encoding", "content-length"]) {
          equal(headers.get(`${HTTP_PREFIX}${name}`), null, name);
        }
      },
    );
  }

  on(
    [LIMIT, "mirror", "extensions"],
    "an answer above the limit is resource_exhausted, naming valueBytes",
    async (at) => {
      await expectLimit(at.invoke(`/bytes/${MOST_BYTES + 1}`), "valueBytes");
      equal((await at.invoke("/bytes/100000")).text.length, 100_000);
    },
  );
}

function appInvocationCases(on: DeclareCase<ServiceCalls>): void {
  on(
    ["InvokeService", "app"],
    "id may be an app that dialled in: it is asked, and its answer is the answer",
    async (at) => {
      const id = at.own("app");
      const serving = at.dialIn(id).serve((router) => {
        router.rpc(Runtime.method.invokeService, ({ message }, { requestHeader, responseHeader }) => {
          responseHeader.set(HTTP_STATUS_HEADER, "418");
          responseHeader.set(`${HTTP_PREFIX}x-mark`, requestHeader.get(`${HTTP_PREFIX}x-mark`) ?? "none");
          return { contentType: "a/b", data: { typeUrl: "", value: utf8(`asked ${message?.method}`) } };
        });
      });
      await serving.ready;
      const { text, contentType, headers } = await at.invoke("/items/7", { id, headers: { "x-mark": "1" } });
      equal([text, contentType], ["asked /items/7", "a/b"]);
      equal([headers.get(HTTP_STATUS_HEADER), headers.get(`${HTTP_PREFIX}x-mark`)], ["418", "1"]);
    },
  );

  on(
    ["InvokeService", "app", "extensions"],
    "an app that dialled in has the same rule for paths",
    async (at) => {
      const id = at.own("app");
      const serving = at.dialIn(id).serve((router) => {
        router.rpc(Runtime.method.invokeService, ({ message }) => {
          const query = message?.httpExtension?.querystring ?? "";
          return { data: { typeUrl: "", value: utf8(`asked ${message?.method} with ${query}`) } };
        });
      });
      await serving.ready;
      equal((await at.invoke("/items/7?x=1", { id, query: "y=2" })).text, "asked /items/7 with x=1&y=2");
      for (const path of ESCAPING_PATHS) await expectMalformed(at.invoke(path, { id }), "message.method");
    },
  );

  on(["InvokeService", "app"], "the error of an app that dialled in is the call's", async (at) => {
    const id = at.own("app");
    const serving = at.dialIn(id).serve((router) => {
      router.rpc(Runtime.method.invokeService, () => {
        throw new ConnectError("out of tea", Code.FailedPrecondition);
      });
    });
    await serving.ready;
    const error = await expectRefusal(at.invoke("/", { id }), Code.FailedPrecondition);
    equal(error.rawMessage, "out of tea");
  });
}

function appAvailabilityCases(on: DeclareCase<ServiceCalls>): void {
  on(["InvokeService", "app"], "apps of one name are asked in turn", async (at) => {
    const id = at.own("app");
    for (const name of ["one", "two"]) {
      const serving = at.dialIn(id).serve((router) => {
        router.rpc(Runtime.method.invokeService, () => ({ data: { typeUrl: "", value: utf8(name) } }));
      });
      await serving.ready;
    }
    const seen = [];
    for (let i = 0; i < 4; i++) seen.push((await at.invoke("/", { id })).text);
    equal(seen.toSorted(), ["one", "one", "two", "two"]);
  });

  on(["InvokeService", "app"], "an app that has left is unavailable", async (at) => {
    const id = at.own("app");
    const tunnel = at.dialIn(id);
    await tunnel.serve((router) => {
      router.rpc(Runtime.method.invokeService, () => ({}));
    }).ready;
    await at.invoke("/", { id });
    await tunnel.close();
    for (let tries = 0; ; tries++) {
      const gone = await at.invoke("/", { id }).then(
        () => undefined,
        (error: ConnectError) => error,
      );
      if (!gone && tries < 50) continue;
      equal(gone?.code, Code.Unavailable);
      return;
    }
  });
}

function invocationRefusalCases(on: DeclareCase<ServiceCalls>): void {
  on(UNKNOWN, "an id that is not configured is invalid_argument, naming it", async (at) => {
    for (const id of [...UNKNOWN_NAMES, "127.0.0.1", "http://127.0.0.1:1", "localhost:80"]) {
      await expectUnconfigured(at.invoke("/", { id }), "service", id);
    }
  });

  on(["InvokeService", "mirror"], "ids are exact", async (at) => {
    for (const id of [`${at.service} `, at.service.toUpperCase(), `${at.service}/`]) {
      await expectUnconfigured(at.invoke("/", { id }), "service", id);
    }
  });

  on(REQUIRED, "InvokeService needs an id, a message and a method", async (at) => {
    const id = at.service || "any";
    await expectMalformed(at.runtime.invokeService({ message: { method: "/" } }), "id");
    await expectMalformed(at.runtime.invokeService({ id }), "message");
    await expectMalformed(at.runtime.invokeService({ id, message: {} }), "message.method");
    await expectMalformed(at.invoke("/", { id, verb: 99 as never }), "message.http_extension.verb");
  });

  on([REQUIRED, "mirror"], "a content type that is none is invalid_argument", async (at) => {
    await expectMalformed(at.invoke("/", { type: "a\r\nb" }), "message.content_type");
  });
}
