import type { DeclareCase } from "../case.js";
import { expectMalformed, expectUnconfigured, UNKNOWN_NAMES } from "../expect-refusal.js";
import { REQUIRED, UNKNOWN } from "../rules.js";
import type { ServiceCalls } from "./calls.js";

export function invocationRefusalCases(on: DeclareCase<ServiceCalls>): void {
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
