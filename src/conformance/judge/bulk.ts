import { BulkStateItemSchema } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { type Scenario, withUnknownFields } from "./scenario.js";

const BULK = { primitive: "state", rule: "GetBulkState" } as const;
const item = (key: string, etag = "1") => ({ key, data: utf8(key.toUpperCase()), etag });
const entry = (key: string) => ({ text: key.toUpperCase(), etag: "1" });
const getMany = (...keys: string[]) => ({ call: "state.getMany", keys }) as const;

/** Possible answers to bulk reads. */
export const bulkScenarios: readonly Scenario[] = [
  {
    ...BULK,
    id: "bulk-order",
    sentence: "items in the order of their completion belong to the keys that they name",
    operation: getMany("a", "b", "c"),
    expected: { value: { entries: { a: entry("a"), b: entry("b"), c: entry("c") }, errors: [] } },
    createScript: () => ({ getBulkState: () => ({ items: [item("c"), item("a"), item("b")] }) }),
  },
  {
    ...BULK,
    id: "bulk-duplicates",
    sentence: "a key that was asked for twice may come twice",
    operation: getMany("a", "b", "a"),
    expected: { value: { entries: { a: entry("a"), b: entry("b") }, errors: [] } },
    createScript: () => ({ getBulkState: () => ({ items: [item("a"), item("a"), item("b")] }) }),
  },
  {
    ...BULK,
    id: "bulk-duplicates-once",
    sentence: "a key that was asked for twice may come once",
    operation: getMany("a", "a", "b"),
    expected: { value: { entries: { a: entry("a"), b: entry("b") }, errors: [] } },
    createScript: () => ({ getBulkState: () => ({ items: [item("a"), item("b")] }) }),
  },
  {
    ...BULK,
    id: "bulk-errors",
    sentence: "a key that failed is reported, not dropped, beside the values of the others",
    operation: getMany("a", "b", "c"),
    expected: { value: { entries: { a: entry("a"), c: entry("c") }, errors: ["b"] } },
    createScript: () => ({
      getBulkState: () => ({ items: [item("a"), { key: "b", error: "i/o timeout" }, item("c")] }),
    }),
  },
  {
    ...BULK,
    id: "bulk-missing",
    sentence: "a missing key is no entry, a stored empty value is one",
    operation: getMany("a", "b"),
    expected: { value: { entries: { b: { text: "", etag: "2" } }, errors: [] } },
    createScript: () => ({ getBulkState: () => ({ items: [{ key: "a" }, { key: "b", etag: "2" }] }) }),
  },
  {
    ...BULK,
    id: "bulk-nothing",
    sentence: "an empty answer, as after a panic of the Go runtime, is no entries",
    rule: "Go runtime: 0 a panic answers OK with an empty message",
    operation: getMany("a"),
    expected: { value: { entries: {}, errors: [] } },
    createScript: () => ({ getBulkState: () => ({}) }),
  },
  {
    ...BULK,
    id: "bulk-odd-keys",
    sentence: "keys that mean something to JavaScript are keys like others",
    rule: "keys",
    operation: getMany("constructor", "__proto__"),
    expected: {
      value: {
        entries: Object.fromEntries([["constructor", { text: "CONSTRUCTOR", etag: "1" }]]),
        errors: ["__proto__"],
      },
    },
    createScript: () => ({
      getBulkState: () => ({ items: [item("constructor"), { key: "__proto__", error: "i/o timeout" }] }),
    }),
  },
  {
    ...BULK,
    id: "bulk-unknown-fields",
    sentence: "items with fields of a later version of the API are items",
    operation: getMany("a"),
    expected: { value: { entries: { a: entry("a") }, errors: [] } },
    createScript: () => ({
      getBulkState: () => ({ items: [withUnknownFields(BulkStateItemSchema, item("a"))] }),
    }),
  },
];
