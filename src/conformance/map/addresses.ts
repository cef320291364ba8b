import { Code } from "@connectrpc/connect";
import type { DeclareCase } from "../case.js";
import { equal } from "../expect.js";
import { expectMalformed, expectRefusal } from "../expect-refusal.js";
import { REQUIRED } from "../rules.js";
import type { MapCalls } from "./calls.js";

export function addressCases(on: DeclareCase<MapCalls>): void {
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

export function malformedAddressCases(on: DeclareCase<MapCalls>): void {
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
