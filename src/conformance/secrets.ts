import { Code } from "@connectrpc/connect";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { type Case, casesOf, type DeclareCase } from "./case.js";
import type { CaseContext } from "./case-context.js";
import { equal, ok } from "./expect.js";
import {
  errorMetadata,
  expectMalformed,
  expectRefusal,
  expectUnconfigured,
  UNKNOWN_NAMES,
} from "./expect-refusal.js";
import { MISSING, REQUIRED, UNKNOWN } from "./rules.js";

function secretCalls(context: CaseContext) {
  const runtime = context.client(Runtime);
  const { store: storeName = "", key = "", value = "" } = context.stores.secret ?? {};
  return {
    ...context,
    runtime,
    storeName,
    key,
    value,
    get: async (key: string) => ({ ...(await runtime.getSecret({ storeName, key })).data }),
    all: async () => (await runtime.getBulkSecret({ storeName })).data,
  };
}

/** The cases of secrets. */
export const secretCases: readonly Case[] = casesOf("secrets", secretCalls, [
  secretReadCases,
  secretNameCases,
]);

function secretReadCases(on: DeclareCase<ReturnType<typeof secretCalls>>): void {
  on(["secrets", "secrets"], "GetSecret gives the value by its name", async (at) => {
    equal(await at.get(at.key), { [at.key]: at.value });
  });

  on(["secrets", "secrets"], "GetBulkSecret has every secret, by its name", async (at) => {
    const all = await at.all();
    equal({ ...all[at.key]?.secrets }, { [at.key]: at.value });
    for (const [name, { secrets }] of Object.entries(all)) {
      equal({ ...secrets }, await at.get(name), `the secret ${name}`);
    }
  });

  on([MISSING, "secrets"], "a secret that is not there is not_found, with its name", async (at) => {
    const name = at.own("missing");
    const error = await expectRefusal(at.get(name), Code.NotFound);
    ok(error.rawMessage.includes(JSON.stringify(name)), `it is named: ${error.rawMessage}`);
    equal(errorMetadata(error), { name });
  });
}

function secretNameCases(on: DeclareCase<ReturnType<typeof secretCalls>>): void {
  on(["secrets", "secrets"], "what every object has is no secret", async (at) => {
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      await expectRefusal(at.get(name), Code.NotFound, name);
    }
    const names = Object.keys(await at.all());
    equal(
      names.filter((name) => name === "__proto__" || name === "constructor"),
      [],
    );
  });

  on(["secrets", "secrets"], "names are exact", async (at) => {
    for (const name of [`${at.key} `, ` ${at.key}`, at.key.slice(0, -1), `${at.key}x`]) {
      await expectRefusal(at.get(name), Code.NotFound, JSON.stringify(name));
    }
    for (const name of [`${at.key}\u0000`, `${at.key}\u0000x`, `${at.key}\n`]) {
      await expectMalformed(at.get(name), "key", JSON.stringify(name));
    }
  });

  on(["secrets", "secrets"], "no error tells a secret's value", async (at) => {
    const error = await expectRefusal(at.get(`${at.key}x`), Code.NotFound);
    ok(
      !JSON.stringify([error.message, errorMetadata(error), ...error.metadata]).includes(at.value),
      "it does not",
    );
  });

  on([REQUIRED, "secrets"], "GetSecret needs a store and a key", async (at) => {
    const { getSecret, getBulkSecret } = at.runtime;
    await expectMalformed(getSecret({ storeName: "", key: "k" }), "store_name");
    await expectMalformed(getSecret({ storeName: at.storeName, key: "" }), "key");
    await expectMalformed(getBulkSecret({ storeName: "" }), "store_name");
  });

  on(UNKNOWN, "a secret store that is not configured is invalid_argument, naming it", async (at) => {
    for (const storeName of UNKNOWN_NAMES) {
      await expectUnconfigured(at.runtime.getSecret({ storeName, key: "k" }), "secret store", storeName);
      await expectUnconfigured(at.runtime.getBulkSecret({ storeName }), "secret store", storeName);
    }
  });
}
