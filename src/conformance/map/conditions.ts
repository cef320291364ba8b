import { Code } from "@connectrpc/connect";
import { MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { FENCE_HEADER, IF_ABSENT_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { errorMetadata, expectMalformed, expectRefusal } from "../expect-refusal.js";
import { MISMATCH, REQUIRED } from "../rules.js";
import type { MapCalls } from "./calls.js";

const CONDITION = "Put, Remove with value.version > 0";
export function conditionCases(on: DeclareCase<MapCalls>): void {
  for (const [rpc, call] of [
    ["Put", (at: MapCalls, key: string, version: bigint) => at.put(key, "2", { version })],
    ["Remove", (at: MapCalls, key: string, version: bigint) => at.remove(key, { version })],
  ] as const) {
    on(CONDITION, `${rpc} over another version is aborted, with the key and its version`, async (at) => {
      const version = await at.put("k", "1");
      const error = await expectRefusal(call(at, "k", version + 1n), Code.Aborted);
      equal(errorMetadata(error), { key: "k", version: String(version) });
      equal(await at.get("k"), { text: "1", version });
    });

    on(CONDITION, `${rpc} over a version of a missing key is aborted`, async (at) => {
      const error = await expectRefusal(call(at, "missing", 7n), Code.Aborted);
      equal(errorMetadata(error), { key: "missing", version: "0" });
    });

    on(
      CONDITION,
      `${rpc} over an old version is aborted, also after the key was removed and put again`,
      async (at) => {
        const old = await at.put("k", "1");
        await at.remove("k");
        await expectRefusal(call(at, "k", old), Code.Aborted);
        await at.put("k", "3");
        await expectRefusal(call(at, "k", old), Code.Aborted);
        equal((await at.get("k"))?.text, "3");
      },
    );

    on(CONDITION, `${rpc} over the version that is there goes through`, async (at) => {
      const version = await at.put("k", "1");
      await call(at, "k", version);
      equal((await at.get("k"))?.text, rpc === "Put" ? "2" : undefined);
    });
  }
}

export function unconditionalCases(on: DeclareCase<MapCalls>): void {
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

export function ifAbsentCases(on: DeclareCase<MapCalls>): void {
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

export function entryFenceCases(on: DeclareCase<MapCalls>): void {
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
      for (const call of [() => at.put("k", "2", under(old)), () => at.remove("k", under(old))]) {
        equal(errorMetadata(await expectRefusal(call(), Code.Aborted)), { key: at.own("r/1"), fence: now });
      }
      await expectRefusal(
        at.put("k", "2", { headers: { [FENCE_HEADER]: "nonsense" } }),
        Code.InvalidArgument,
      );
      equal((await at.remove("k", under(now)))?.text, "1");
    },
  );
}
