import { Code, ConnectError } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { HTTP_PREFIX, HTTP_STATUS_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { ESCAPING_PATHS } from "../escaping-paths.js";
import { equal } from "../expect.js";
import { expectMalformed, expectRefusal } from "../expect-refusal.js";
import type { ServiceCalls } from "./calls.js";

export function appInvocationCases(on: DeclareCase<ServiceCalls>): void {
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

export function appAvailabilityCases(on: DeclareCase<ServiceCalls>): void {
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
      const refusal = await at.invoke("/", { id }).then(
        () => undefined,
        (error: ConnectError) => error,
      );
      if (!refusal && tries < 50) continue;
      equal(refusal?.code, Code.Unavailable);
      return;
    }
  });
}
