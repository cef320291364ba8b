import { Code } from "@connectrpc/connect";
import { ResponseStatus, ResponseType } from "../../../gen/atomix/pb/headers/headers_pb.js";
import { MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { FENCE_HEADER, IF_ABSENT_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { patternBytes } from "../engine/steps.js";
import { equal, ok } from "../expect.js";
import { errorMetadata, expectLimit, expectMalformed, expectRefusal } from "../expect-refusal.js";
import { LIMIT, MISMATCH, MOST_BYTES, REQUIRED } from "../rules.js";
import type { MapCalls } from "./calls.js";

const CONDITION = "Put, Remove with value.version > 0";

/** Entries, their versions, and the places that they are in. */
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

function addressCases(on: DeclareCase<MapCalls>): void {
  on(
    "MapService addressing",
    "protocol and primitive ids and the partition each name another part of a map",
    async (at) => {
      const { header } = at;
      const places = [
        header,
        { ...header, partition: 2 },
        { ...header, protocol: { namespace: at.own("n"), name: "default" } },
        { ...header, protocol: { namespace: "", name: at.own("other") } },
        { ...header, primitive: { namespace: "app", name: at.own("m") } },
        { ...header, primitive: { namespace: "", name: at.own("m2") } },
      ];
      for (const [i, place] of places.entries()) {
        equal(await at.put("k", `${i}`, { at: place }), 1n, "each has a counter of its own");
      }
      for (const [i, place] of places.entries()) equal((await at.get("k", place))?.text, `${i}`);
    },
  );

  on("MapService addressing", "a namespace and a name do not run into each other", async (at) => {
    const place = (namespace: string, name: string) => ({ ...at.header, primitive: { namespace, name } });
    const [a, b] = [place(at.own("a"), "b"), place(at.own(""), "ab")];
    await at.put("k", "a", { at: a });
    equal(await at.get("k", b), undefined);
  });

  on(
    "MapService addressing",
    "a partition is there on first use, and reading brings none into being",
    async (at) => {
      equal(await at.get("k"), undefined);
      equal(await at.remove("k"), undefined);
      await expectRefusal(at.put("k", "v", { version: 9n }), Code.Aborted);
      equal(await at.put("k", "v"), 1n);
    },
  );

  on("MapService addressing", "a partition may have any number above 0", async (at) => {
    const partitions = [7, 2 ** 31, 2 ** 32 - 1];
    for (const partition of partitions) {
      const place = { ...at.header, partition };
      await at.put("k", `${partition}`, { at: place });
    }
    for (const partition of partitions) {
      equal((await at.get("k", { ...at.header, partition }))?.text, `${partition}`);
    }
  });
}

function malformedAddressCases(on: DeclareCase<MapCalls>): void {
  on(
    REQUIRED,
    "ids must be there and named, the partition 1 or more; namespaces may be empty",
    async (at) => {
      const { header } = at;
      const cases: [place: object | undefined, field: string][] = [
        [undefined, "header"],
        [{ ...header, protocol: undefined }, "header.protocol"],
        [{ ...header, protocol: { name: "" } }, "header.protocol.name"],
        [{ ...header, protocol: { name: "a\u0000b" } }, "header.protocol.name"],
        [{ ...header, protocol: { name: "a", namespace: "\n" } }, "header.protocol.namespace"],
        [{ ...header, primitive: undefined }, "header.primitive"],
        [{ ...header, primitive: { name: "" } }, "header.primitive.name"],
        [{ ...header, primitive: { name: "m", namespace: "\u0000" } }, "header.primitive.namespace"],
        [{ ...header, partition: 0 }, "header.partition"],
      ];
      for (const [place, field] of cases) {
        const where = place as typeof header;
        await expectMalformed(at.maps.get({ header: where, key: "k" }), field);
        await expectMalformed(at.maps.put({ header: where, key: "k", value: {} }), field);
        await expectMalformed(at.maps.remove({ header: where, key: "k" }), field);
      }
    },
  );
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

function conditionCases(on: DeclareCase<MapCalls>): void {
  for (const [what, call] of [
    ["Put", (at: MapCalls, key: string, version: bigint) => at.put(key, "2", { version })],
    ["Remove", (at: MapCalls, key: string, version: bigint) => at.remove(key, { version })],
  ] as const) {
    on(CONDITION, `${what} over another version is aborted, with the key and its version`, async (at) => {
      const version = await at.put("k", "1");
      const error = await expectRefusal(call(at, "k", version + 1n), Code.Aborted);
      equal(errorMetadata(error), { key: "k", version: String(version) });
      equal(await at.get("k"), { text: "1", version });
    });

    on(CONDITION, `${what} over a version of a missing key is aborted`, async (at) => {
      const error = await expectRefusal(call(at, "missing", 7n), Code.Aborted);
      equal(errorMetadata(error), { key: "missing", version: "0" });
    });

    on(
      CONDITION,
      `${what} over an old version is aborted, also after the key was removed and put again`,
      async (at) => {
        const old = await at.put("k", "1");
        await at.remove("k");
        await expectRefusal(call(at, "k", old), Code.Aborted);
        await at.put("k", "3");
        await expectRefusal(call(at, "k", old), Code.Aborted);
        equal((await at.get("k"))?.text, "3");
      },
    );

    on(CONDITION, `${what} over the version that is there goes through`, async (at) => {
      const version = await at.put("k", "1");
      await call(at, "k", version);
      equal((await at.get("k"))?.text, what === "Put" ? "2" : undefined);
    });
  }
}

function unconditionalCases(on: DeclareCase<MapCalls>): void {
  on(CONDITION, "of many that put over the same version one gets through", async (at) => {
    const version = await at.put("k", "0");
    const calls = Array.from({ length: 12 }, (_, i) => at.put("k", `${i + 1}`, { version }));
    const settled = await Promise.allSettled(calls);
    const won = settled.flatMap(({ status }, i) => (status === "fulfilled" ? [`${i + 1}`] : []));
    equal(won.length, 1, "those that got through");
    equal((await at.get("k"))?.text, won[0]);
  });

  on(CONDITION, "version 0 is no condition: Put overwrites, Remove removes", async (at) => {
    await at.put("k", "1");
    await at.put("k", "2");
    equal((await at.get("k"))?.text, "2");
    equal(await at.remove("k"), { text: "2", version: 2n });
    equal(await at.get("k"), undefined);
  });

  on(CONDITION, "Remove needs no value, and heeds nothing of it but the version", async (at) => {
    await at.put("a", "1");
    await at.maps.remove({ header: at.header, key: "a" });
    equal(await at.get("a"), undefined);
    const version = await at.put("b", "1");
    const value = { value: utf8("ignored"), version };
    equal((await at.maps.remove({ header: at.header, key: "b", value })).value?.value, utf8("1"));
  });

  on([CONDITION, "second client"], "a client puts over what another one has put", async (at) => {
    const other = at.client(MapService, await at.second());
    const version = await at.put("k", "1");
    await other.put({ header: at.header, key: "k", value: { value: utf8("2"), version } });
    await expectRefusal(at.put("k", "3", { version }), Code.Aborted);
    equal((await at.get("k"))?.text, "2");
  });
}

function ifAbsentCases(on: DeclareCase<MapCalls>): void {
  const ifAbsent = { [IF_ABSENT_HEADER]: "true" };
  on(
    [MISMATCH, "extensions"],
    "Put with fairlead-if-absent goes through only where there is no entry",
    async (at) => {
      const version = await at.put("k", "1", { headers: ifAbsent });
      const error = await expectRefusal(at.put("k", "2", { headers: ifAbsent }), Code.Aborted);
      equal(errorMetadata(error), { key: "k", version: String(version) });
      await at.remove("k");
      await at.put("k", "3", { headers: ifAbsent });
      equal((await at.get("k"))?.text, "3");
    },
  );

  on([MISMATCH, "extensions"], "of many that put if absent one gets through", async (at) => {
    const calls = Array.from({ length: 12 }, (_, i) => at.put("k", `${i}`, { headers: ifAbsent }));
    const settled = await Promise.allSettled(calls);
    equal(settled.filter(({ status }) => status === "fulfilled").length, 1);
  });

  on(
    [REQUIRED, "extensions"],
    "fairlead-if-absent is true or false, and goes with no version",
    async (at) => {
      await at.put("k", "1", { headers: { [IF_ABSENT_HEADER]: "false" } });
      await expectMalformed(at.put("k", "2", { headers: { [IF_ABSENT_HEADER]: "yes" } }), IF_ABSENT_HEADER);
      await expectMalformed(at.put("k", "2", { headers: ifAbsent, version: 1n }), "value.version");
      equal((await at.get("k"))?.text, "1");
    },
  );
}

function entryFenceCases(on: DeclareCase<MapCalls>): void {
  on(
    [MISMATCH, "extensions"],
    "Put and Remove under an older fence are aborted, with the resource and the newest fence",
    async (at) => {
      const runtime = at.client(Runtime);
      const store = at.stores.lock;
      const lock = async () => {
        const given: { fence?: string | null } = {};
        const onHeader = (headers: Headers) => {
          given.fence = headers.get(FENCE_HEADER);
        };
        const request = { storeName: store, resourceId: at.own("r/1"), lockOwner: "me", expire: 60 };
        ok((await runtime.tryLock(request, { onHeader })).success, "it is granted");
        await runtime.unlock(request);
        return given.fence ?? "";
      };
      const [old, now] = [await lock(), await lock()];
      const under = (fence: string) => ({
        headers: { [FENCE_HEADER]: `${store}/${encodeURIComponent(at.own("r/1"))}=${fence}` },
      });
      await at.put("k", "1", under(now));
      for (const call of [at.put("k", "2", under(old)), at.remove("k", under(old))]) {
        equal(errorMetadata(await expectRefusal(call, Code.Aborted)), { key: at.own("r/1"), fence: now });
      }
      await expectRefusal(
        at.put("k", "2", { headers: { [FENCE_HEADER]: "nonsense" } }),
        Code.InvalidArgument,
      );
      equal((await at.remove("k", under(now)))?.text, "1");
    },
  );
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
    const value = { value: new Uint8Array(MOST_BYTES + 1) };
    await expectLimit(at.maps.put({ header: at.header, key: "k", value }), "valueBytes");
    equal(await at.get("k"), undefined);
  });
}
