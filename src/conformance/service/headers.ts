import { FENCE_HEADER, HTTP_PREFIX } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import type { ServiceCalls } from "./calls.js";

export function forwardedHeaderCases(on: DeclareCase<ServiceCalls>): void {
  on(["InvokeService", "mirror"], "the app gets the call's headers", async (at) => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const { headers } = await at.invokeMirror("/", { headers: { "x-mark": "1", traceparent } });
    equal([headers["x-mark"], headers["traceparent"]], ["1", traceparent]);
  });

  on(
    ["InvokeService", "mirror", "extensions"],
    "what only a proxy can know does not come from the caller",
    async (at) => {
      const names = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
      const spoofed = names.flatMap((name): [string, string][] => [
        [name, "evil.example"],
        [`${HTTP_PREFIX}${name}`, "evil.example"],
      ]);
      const { headers } = await at.invokeMirror("/", { headers: spoofed });
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
    const { headers } = await at.invokeMirror("/", { headers: own });
    for (const [name, value] of Object.entries(own)) ok(headers[name] !== value, `${name} stays behind`);
    equal(
      Object.keys(headers).filter((name) => /^(connect|fairlead|grpc)-/.test(name)),
      [],
    );
  });
}

export function prefixedHeaderCases(on: DeclareCase<ServiceCalls>): void {
  on(
    ["InvokeService", "mirror", "extensions"],
    "a header with the prefix fairlead-http- goes to the app without it",
    async (at) => {
      const { headers } = await at.invokeMirror("/", {
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
      const { headers, body } = await at.invokeMirror("/", { data: "body", headers: smuggled });
      equal(body, "body");
      for (const name of names) ok(headers[name] !== "9", `${name}: ${headers[name]}`);
    },
  );
}
