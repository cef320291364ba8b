import { Code } from "@connectrpc/connect";
import type { ResponseType } from "../../../gen/atomix/pb/headers/headers_pb.js";
import { GetResponseSchema, MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { equal } from "../expect.js";
import {
  callsOf,
  failCall,
  firstRequests,
  respondInOrder,
  type Scenario,
  serverError,
  withUnknownFields,
} from "./scenario.js";

const { get, put, remove } = MapService.method;
const MAP = { primitive: "map", rule: "versions" } as const;
const CONDITION = { primitive: "map", rule: "Put, Remove with value.version > 0" } as const;
/** The partition of "größe" in 7 partitions: FNV-1a 32 of its UTF-8 bytes is 0xcd38f49a. */
const PARTITION = 6;
const GET = { call: "map.get", key: "k" } as const;
const PUT = { call: "map.put", key: "k", text: "v", ifVersion: "3" } as const;

/** Possible answers to calls of a versioned map. */
export const mapScenarios: readonly Scenario[] = [
  {
    ...MAP,
    id: "map-missing",
    sentence: "an answer without a value is a missing entry",
    rule: "Atomix: 1.2 absent = no entry",
    operation: GET,
    expected: { value: null },
    createScript: () => ({ get: () => ({ header: {} }) }),
  },
  {
    ...MAP,
    id: "map-empty",
    sentence: "an empty value is an entry",
    rule: "Atomix: 1.4 absence is meaningful for GetResponse.value",
    operation: GET,
    expected: { value: { text: "", version: "4" } },
    createScript: () => ({ get: () => ({ value: { version: 4n } }) }),
  },
  {
    ...MAP,
    id: "map-version-large",
    sentence: "a version beyond 2^63 is returned to the last digit",
    operation: GET,
    expected: { value: { text: "v", version: "18446744073709551615" } },
    createScript: () => ({ get: () => ({ value: { value: utf8("v"), version: 2n ** 64n - 1n } }) }),
  },
  {
    ...MAP,
    id: "map-header",
    sentence: "a header of any type and fields of a later version change nothing",
    rule: "Atomix: 1.4 absent and empty headers are equal",
    operation: GET,
    expected: { value: { text: "v", version: "1" } },
    createScript: () => ({
      get: () =>
        withUnknownFields(GetResponseSchema, {
          header: { type: 9 as ResponseType },
          value: { value: utf8("v"), version: 1n },
        }),
    }),
  },
  {
    ...MAP,
    id: "map-partition",
    sentence: "the partition is 1 + FNV-1a of the key modulo their number",
    rule: "MapService addressing",
    operation: { call: "map.get", key: "größe", partitions: 7 },
    expected: { value: null },
    createScript: () => ({ get: () => ({}) }),
    checkCalls: (calls) => equal(firstRequests(calls, get)[0]?.header?.partition, PARTITION, "the partition"),
  },
  {
    ...MAP,
    id: "map-not-primary",
    sentence: "a read that met another than the primary is tried again",
    rule: "not the primary of the partition",
    operation: GET,
    expected: { value: { text: "v", version: "1" } },
    createScript: () => ({
      get: respondInOrder(serverError(Code.Unavailable, "not the primary"), {
        value: { value: utf8("v"), version: 1n },
      }),
    }),
  },
  {
    ...MAP,
    id: "map-unknown",
    sentence: "a map that is not there is a failure, not a missing entry",
    rule: "Atomix: 3.1 an unknown map is NOT_FOUND",
    operation: GET,
    expected: { code: "not_found" },
    createScript: () => ({ get: failCall(Code.NotFound, "map not found") }),
  },
  {
    ...CONDITION,
    id: "map-conflict",
    sentence: "aborted is a conflict",
    operation: PUT,
    expected: { code: "aborted" },
    createScript: () => ({ put: failCall(Code.Aborted, "k has version 5") }),
    checkCalls: (calls) =>
      equal(firstRequests(calls, put)[0]?.value?.version, 3n, "the condition on the wire"),
  },
  {
    ...CONDITION,
    id: "map-conflict-atomix",
    sentence: "Atomix' permission_denied for an optimistic lock is a conflict",
    rule: "Atomix: 3.2 PERMISSION_DENIED optimistic lock failure",
    operation: PUT,
    expected: { code: "aborted" },
    createScript: () => ({ put: failCall(Code.PermissionDenied, "optimistic lock failure") }),
  },
  {
    ...CONDITION,
    id: "map-remove-conflict-atomix",
    sentence: "Atomix' permission_denied for a removal over another version is a conflict",
    rule: "Atomix: 3.2 PERMISSION_DENIED optimistic lock failure",
    operation: { call: "map.remove", key: "k", ifVersion: "3" },
    expected: { code: "aborted" },
    createScript: () => ({ remove: failCall(Code.PermissionDenied, "optimistic lock failure") }),
    checkCalls: (calls) =>
      equal(firstRequests(calls, remove)[0]?.value?.version, 3n, "the condition on the wire"),
  },
  {
    ...CONDITION,
    id: "map-forbidden",
    sentence: "another permission_denied is no conflict",
    rule: "the caller has no or a bad credential / may not do this",
    operation: PUT,
    expected: { code: "permission_denied" },
    createScript: () => ({ put: failCall(Code.PermissionDenied, "reader may not write to k") }),
  },
  {
    ...CONDITION,
    id: "map-put",
    sentence: "a write without a condition carries version 0, and its new version is returned",
    operation: { call: "map.put", key: "k", text: "v" },
    expected: { value: "9007199254740993" },
    createScript: () => ({ put: () => ({ version: 9_007_199_254_740_993n }) }),
    checkCalls: (calls) => equal(firstRequests(calls, put)[0]?.value?.version, 0n, "the version on the wire"),
  },
  {
    ...MAP,
    id: "map-removed",
    sentence: "a removal tells what was there",
    rule: "Atomix: 3.2 Remove returns the old value",
    operation: { call: "map.remove", key: "k" },
    expected: { value: { text: "old", version: "8" } },
    createScript: () => ({ remove: () => ({ value: { value: utf8("old"), version: 8n } }) }),
  },
  {
    ...MAP,
    id: "map-removed-nothing",
    sentence: "a removal that finds nothing is no failure, and tells of no entry",
    rule: "Atomix: 1.2 absent = nothing removed",
    operation: { call: "map.remove", key: "k" },
    expected: { value: null },
    createScript: () => ({ remove: () => ({ header: {} }) }),
  },
  {
    ...CONDITION,
    id: "map-put-away",
    sentence: "a write without a condition whose answer was lost is not sent again by itself",
    rule: "the engine is away",
    operation: { call: "map.put", key: "k", text: "v" },
    expected: { code: "unavailable" },
    createScript: () => ({ put: failCall(Code.Unavailable, "not the primary") }),
    checkCalls: (calls) => equal(callsOf(calls, put).length, 1, "how often it was sent"),
  },
];
