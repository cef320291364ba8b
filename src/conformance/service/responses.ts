import { HTTP_PREFIX, HTTP_STATUS_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal } from "../expect.js";
import { expectLimit } from "../expect-refusal.js";
import { LIMIT, MAX_VALUE_BYTES } from "../rules.js";
import type { ServiceCalls } from "./calls.js";

export function responseCases(on: DeclareCase<ServiceCalls>): void {
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
      await expectLimit(at.invoke(`/bytes/${MAX_VALUE_BYTES + 1}`), "valueBytes");
      equal((await at.invoke("/bytes/100000")).text.length, 100000);
    },
  );
}
