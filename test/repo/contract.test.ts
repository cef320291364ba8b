import { existsSync, readFileSync } from "node:fs";
import {
  create,
  type DescMessage,
  equals,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ConsumeRequestSchema, LogRecordSchema } from "../../gen/atomix/log/log_pb.js";
import { MessageSchema } from "../../gen/atomix/map/map_pb.js";
import { BackupRequestSchema, PutRequestSchema, PutResponseSchema } from "../../gen/atomix/pb/map/map_pb.js";
import {
  BulkStateItemSchema,
  EtagSchema,
  GetFileMetaRequestSchema,
  GetFileRequestSchema,
  GetNextIdResponseSchema,
  SubscribeTopicEventsRequestInitialSchema,
  UnlockResponse_Status,
  UnlockResponseSchema,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const utf8 = (text: string) => new TextEncoder().encode(text);
const clock = (n: number) => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, n);

interface Vector {
  type: string;
  says: string;
  hex: string;
  /** It decodes to the described value, which encodes to the same bytes. */
  check: () => void;
}

function vector<S extends DescMessage>(
  schema: S,
  says: string,
  bytes: string,
  value: MessageInitShape<S>,
  inspect?: (decoded: MessageShape<S>) => void,
): Vector {
  return {
    type: schema.typeName,
    says,
    hex: bytes,
    check: () => {
      const decoded = fromBinary(schema, unhex(bytes));
      expect(decoded).toEqual(create(schema, value));
      expect(decoded.$unknown).toBeUndefined();
      inspect?.(decoded);
      expect(hex(toBinary(schema, decoded))).toBe(bytes);
      expect(hex(toBinary(schema, create(schema, value)))).toBe(bytes);
    },
  };
}

const target = { name: "test", namespace: "group-1" };
const header = {
  protocol: { namespace: "default", name: "test" },
  primitive: { name: "m", namespace: "app" },
  partition: 1,
};

/** Encoded by another protobuf implementation. */
const vectors: Vector[] = [
  vector(
    MessageSchema,
    "source member-1, target namespace=group-1 name=test, update foo=bar at clock 5, sender clock 5",
    "0a086d656d6265722d31120f0a0474657374120767726f75702d311a240a180a03666f6f12110a0a0a080000000000000005120362617212080000000000000005",
    {
      source: "member-1",
      target,
      message: {
        case: "update",
        value: {
          updates: { foo: { digest: { timestamp: clock(5), tombstone: false }, value: utf8("bar") } },
          timestamp: clock(5),
        },
      },
    },
  ),
  vector(
    MessageSchema,
    "source member-1, target group-1/test, advertisement: foo is a tombstone at clock 6, sender clock 7",
    "0a086d656d6265722d31120f0a0474657374120767726f75702d312a1f0a130a03666f6f120c0a080000000000000006100112080000000000000007",
    {
      source: "member-1",
      target,
      message: {
        case: "antiEntropyAdvertisement",
        value: { digest: { foo: { timestamp: clock(6), tombstone: true } }, timestamp: clock(7) },
      },
    },
  ),
  vector(
    MessageSchema,
    "source member-2, target group-1/test, update request for [foo], sender clock 8",
    "0a086d656d6265722d32120f0a0474657374120767726f75702d31220f0a03666f6f12080000000000000008",
    {
      source: "member-2",
      target,
      message: { case: "updateRequest", value: { keys: ["foo"], timestamp: clock(8) } },
    },
  ),
  vector(
    PutRequestSchema,
    "protocol namespace=default name=test, primitive name=m namespace=app, partition 1, foo=bar if version 3",
    "0a1d0a0f0a0764656661756c7412047465737412080a016d120361707018011203666f6f1a070a036261721003",
    { header, key: "foo", value: { value: utf8("bar"), version: 3n } },
  ),
  vector(
    BackupRequestSchema,
    "same header, delete foo, digest term 1 timestamp 4",
    "0a1d0a0f0a0764656661756c7412047465737412080a016d12036170701801120b0a03666f6f1a0408011004",
    { header, entries: [{ key: "foo", digest: { term: 1n, timestamp: 4n } }] },
    // A deletion is the absence of the value.
    (decoded) => expect(decoded.entries[0]?.value).toBeUndefined(),
  ),
  vector(
    PutResponseSchema,
    "empty header present, version 4",
    "0a001004",
    { header: {}, version: 4n },
    (decoded) => expect(decoded.header).toBeDefined(),
  ),
  vector(ConsumeRequestSchema, "offset 1", "0801", { offset: 1n }),
  vector(LogRecordSchema, 'offset 1, timestamp 1559000000000 ms, value "hi"', "08011080cc90ddaf2d1a026869", {
    offset: 1n,
    timestamp: 1559000000000n,
    value: utf8("hi"),
  }),
];

describe("wire vectors", () => {
  for (const v of vectors) it(`${v.type}: ${v.says}`, v.check);

  // The list of vectors is not part of this repository.
  const source = new URL("../../../shared/contract/vectors.tsv", import.meta.url);
  it.skipIf(!existsSync(source))("are those of the contract", () => {
    const rows = readFileSync(source, "utf8")
      .split("\n")
      .filter((line) => line && !line.startsWith("#"));
    expect(vectors.map((v) => [v.type, v.says, v.hex].join("\t"))).toEqual(rows);
  });
});

describe("wire forms that clients rely on", () => {
  it("an absent header equals an empty one in what it says", () => {
    const absent = fromBinary(PutResponseSchema, unhex("1004"));
    expect(absent.header).toBeUndefined();
    expect(absent.version).toBe(4n);
  });

  it("64-bit numbers stay exact", () => {
    const nextId = 9223372036854775807n;
    const bytes = toBinary(GetNextIdResponseSchema, create(GetNextIdResponseSchema, { nextId }));
    expect(hex(bytes)).toBe("08ffffffffffffffff7f");
    expect(fromBinary(GetNextIdResponseSchema, bytes).nextId).toBe(nextId);
    const offset = 18446744073709551615n;
    expect(
      fromBinary(LogRecordSchema, toBinary(LogRecordSchema, create(LogRecordSchema, { offset }))).offset,
    ).toBe(offset);
  });

  it("dead_letter_topic tells unset from empty", () => {
    const unset = create(SubscribeTopicEventsRequestInitialSchema, { topic: "t" });
    const empty = create(SubscribeTopicEventsRequestInitialSchema, { topic: "t", deadLetterTopic: "" });
    expect(hex(toBinary(SubscribeTopicEventsRequestInitialSchema, unset))).toBe("120174");
    expect(hex(toBinary(SubscribeTopicEventsRequestInitialSchema, empty))).toBe("1201742200");
    expect(
      fromBinary(SubscribeTopicEventsRequestInitialSchema, unhex("120174")).deadLetterTopic,
    ).toBeUndefined();
    expect(fromBinary(SubscribeTopicEventsRequestInitialSchema, unhex("1201742200")).deadLetterTopic).toBe(
      "",
    );
  });

  it("the last field of a oneof wins", () => {
    // Update{}, then UpdateRequest{keys: [foo]}
    const decoded = fromBinary(MessageSchema, unhex("1a0022050a03666f6f"));
    expect(decoded.message).toMatchObject({ case: "updateRequest", value: { keys: ["foo"] } });
  });

  it("GetFileRequest reads where a FileRequest is expected", () => {
    const bytes = toBinary(GetFileRequestSchema, create(GetFileRequestSchema, { storeName: "s", name: "f" }));
    const wrapped = fromBinary(GetFileMetaRequestSchema, Uint8Array.of(0x0a, bytes.length, ...bytes));
    expect(wrapped.request).toMatchObject({ storeName: "s", name: "f" });
  });
});

describe("messages of a newer peer", () => {
  // Field 15 varint 300, field 100 bytes "new"; neither is known to any message here.
  const added = "78ac02a206036e6577";

  it("unknown fields survive decoding and encoding", () => {
    const decoded = fromBinary(EtagSchema, unhex(`0a0137${added}`));
    expect(decoded.value).toBe("7");
    expect(decoded.$unknown?.map((f) => [f.no, f.wireType])).toEqual([
      [15, 0],
      [100, 2],
    ]);
    expect(hex(toBinary(EtagSchema, decoded))).toBe(`0a0137${added}`);
  });

  it("unknown fields survive inside a nested message and a map value", () => {
    const bytes = "0a080a016b7a036e6577";
    const nested = fromBinary(GetFileMetaRequestSchema, unhex(bytes));
    expect(nested.request?.storeName).toBe("k");
    expect(hex(toBinary(GetFileMetaRequestSchema, nested))).toBe(bytes);

    // Message{update: Update{updates: {k: MapValue{value: v, field 15: "new"}}}}
    const inMap = "1a0f0a0d0a016b12081201767a036e6577";
    const decoded = fromBinary(MessageSchema, unhex(inMap));
    expect(decoded.message.case).toBe("update");
    expect(hex(toBinary(MessageSchema, decoded))).toBe(inMap);
  });

  it("an unknown enum number survives", () => {
    const decoded = fromBinary(UnlockResponseSchema, unhex("082a"));
    expect(Number(decoded.status)).toBe(42);
    expect(Object.values(UnlockResponse_Status)).not.toContain(42);
    expect(hex(toBinary(UnlockResponseSchema, decoded))).toBe("082a");
  });

  it("map entries decode to the same message in any order", () => {
    // BulkStateItem.metadata {a: 1, b: 2}, in both orders
    const ab = fromBinary(BulkStateItemSchema, unhex("2a060a01611201312a060a0162120132"));
    const ba = fromBinary(BulkStateItemSchema, unhex("2a060a01621201322a060a0161120131"));
    expect(ab.metadata).toEqual({ a: "1", b: "2" });
    expect(equals(BulkStateItemSchema, ab, ba)).toBe(true);
  });
});
