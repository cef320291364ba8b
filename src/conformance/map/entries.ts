import { Code } from "@connectrpc/connect";
import { ResponseStatus, ResponseType } from "../../../gen/atomix/pb/headers/headers_pb.js";
import { utf8 } from "../../lib/utf8.js";
import type { DeclareCase } from "../case.js";
import { equal } from "../expect.js";
import { expectLimit, expectMalformed, expectRefusal } from "../expect-refusal.js";
import { LIMIT, MAX_VALUE_BYTES, REQUIRED } from "../rules.js";
import { patternBytes } from "../test-data.js";
import { addressCases, malformedAddressCases } from "./addresses.js";
import type { MapCalls } from "./calls.js";
import { conditionCases, entryFenceCases, ifAbsentCases, unconditionalCases } from "./conditions.js";

/** Cases of entries, their versions, and their addresses. */
export function mapEntryCases(on: DeclareCase<MapCalls>): void {
  addressCases(on);
  malformedAddressCases(on);
  versionCases(on);
  entryValueCases(on);
  conditionCases(on);
  unconditionalCases(on);
  ifAbsentCases(on);
  entryFenceCases(on);
  mapRefusalCases(on);
}

function versionCases(on: DeclareCase<MapCalls>): void {
  on("versions", "versions of a partition come from one counter", async (at) => {
    equal([await at.put("a", "1"), await at.put("b", "1"), await at.put("a", "2")], [1n, 2n, 3n]);
    equal((await at.get("a"))?.version, 3n);
    equal((await at.get("b"))?.version, 2n);
  });

  on("versions", "a removal counts as well, so that no version comes twice", async (at) => {
    await at.put("a", "1");
    equal(await at.remove("a"), { text: "1", version: 1n });
    equal(await at.put("a", "2"), 3n);
  });

  on("versions", "the removal of what is not there does not count", async (at) => {
    await at.put("a", "1");
    equal(await at.remove("b"), undefined);
    equal(await at.put("a", "2"), 2n);
  });

  on("versions", "many writers at once get versions of their own", async (at) => {
    const given = await Promise.all(Array.from({ length: 40 }, (_, i) => at.put(`k${i % 5}`, `${i}`)));
    equal(new Set(given).size, 40);
    equal(
      given.toSorted((a, b) => Number(a - b)),
      Array.from({ length: 40 }, (_, i) => BigInt(i + 1)),
    );
  });

  on(
    ["versions", "duplex"],
    "a partition whose counter is at its end refuses writes instead of going back",
    async (at) => {
      const last = 2n ** 64n - 1n;
      const entry = { key: "k", value: { version: last }, digest: { term: 1n, timestamp: last } };
      equal(await at.backup(at.header, [entry]), [ResponseStatus.OK]);
      await expectRefusal(at.put("k", "v"), Code.ResourceExhausted);
      equal((await at.get("k"))?.version, last);
    },
  );
}

function entryValueCases(on: DeclareCase<MapCalls>): void {
  on("reference: GetResponse", "a value comes back byte by byte, an empty one too", async (at) => {
    const value = patternBytes(200_000);
    await at.maps.put({ header: at.header, key: "k", value: { value } });
    equal((await at.maps.get({ header: at.header, key: "k" })).value?.value, value);
    await at.put("k", "");
    equal(await at.get("k"), { text: "", version: 2n });
  });

  on("reference: ResponseHeader", "an answer's header is RESPONSE and OK", async (at) => {
    const put = await at.maps.put({ header: at.header, key: "k", value: { value: utf8("v") } });
    const got = await at.maps.get({ header: at.header, key: "k" });
    const gone = await at.maps.remove({ header: at.header, key: "k" });
    for (const { header } of [put, got, gone]) {
      equal([header?.type, header?.status], [ResponseType.RESPONSE, ResponseStatus.OK]);
    }
  });

  on("reference: GetRequest", "keys are opaque: no two that differ are the same", async (at) => {
    const keys = ["a", "A", "a||b", "a/b", "ä", "a\u0308", "🔑", "a\u0000", " a"];
    for (const key of keys) await at.put(key, `of ${key}`);
    for (const key of keys) equal((await at.get(key))?.text, `of ${key}`, key);
  });
}

function mapRefusalCases(on: DeclareCase<MapCalls>): void {
  on(REQUIRED, "a key is required, and a Put's value", async (at) => {
    const { header } = at;
    await expectMalformed(at.maps.get({ header, key: "" }), "key");
    await expectMalformed(at.maps.put({ header, key: "", value: {} }), "key");
    await expectMalformed(at.maps.remove({ header, key: "" }), "key");
    await expectMalformed(at.maps.put({ header, key: "k" }), "value");
  });

  on(LIMIT, "a key above 1024 bytes is resource_exhausted", async (at) => {
    const key = `k${"é".repeat(512)}`;
    await expectLimit(at.get(key), "keyBytes");
    await expectLimit(at.put(key, "v"), "keyBytes");
    await expectLimit(at.remove(key), "keyBytes");
  });

  on([LIMIT, "extensions"], "a value above the limit is resource_exhausted", async (at) => {
    const value = { value: new Uint8Array(MAX_VALUE_BYTES + 1) };
    await expectLimit(at.maps.put({ header: at.header, key: "k", value }), "valueBytes");
    equal(await at.get("k"), undefined);
  });
}
