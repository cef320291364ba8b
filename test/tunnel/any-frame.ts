import fc from "fast-check";
import type { Frame } from "./frames.js";

const number = fc.oneof(fc.nat({ max: 300 }), fc.maxSafeNat());
const id = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }));
const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constant("\ufeff with a mark in front"),
);
const bytes = fc.uint8Array({ maxLength: 300 });
const name = fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,10}$/);
const value = fc.stringMatching(
  /^([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,10}[\x21-\x7e\x80-\xff])?)?$/,
);
const header = fc.array(fc.tuple(name, value), { maxLength: 4 });
const settings = fc.record(
  {
    streamWindow: number,
    connectionWindow: number,
    calls: number,
    headerBytes: number,
    appId: text,
    authorization: text,
    offer: number,
  },
  { requiredKeys: [], noNullPrototype: true },
);
const status = fc.record({
  code: fc.integer({ min: 0, max: 16 }),
  text,
  details: fc.array(fc.record({ type: text, value: bytes }, { noNullPrototype: true }), { maxLength: 3 }),
  trailers: header,
});
const path = fc.constantFrom("/a.B/C", "/spec.proto.runtime.v1.Runtime/SayHello", "/ä.Ö/Ü");
const kind = <K extends Frame["kind"]>(kind: K) => fc.constant(kind);

/** Any frame that is valid. */
export const anyFrame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ kind: kind("settings"), settings }),
  fc.record({
    kind: kind("call"),
    id,
    method: fc.oneof(path, fc.integer({ min: 1, max: 5000 })),
    timeoutMs: fc.option(fc.nat(), { nil: undefined }),
    header,
  }),
  fc
    .record({ kind: kind("message"), id, bytes, flags: fc.constantFrom("", "end", "more") })
    .map(({ flags, ...rest }) => ({ ...rest, end: flags === "end", more: flags === "more" })),
  fc.record({ kind: kind("headers"), id, header }),
  fc.record({ kind: kind("status"), id, status }),
  fc.record({ kind: kind("reset"), id, code: number }),
  fc.record({ kind: kind("credit"), id: number, bytes: number }),
  fc.record({ kind: kind("ping"), number }),
  fc.record({ kind: kind("pong"), number }),
  fc.record({ kind: kind("goaway"), lastId: number, reason: text }),
  fc.record({ kind: kind("end"), id }),
);
