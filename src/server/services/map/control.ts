import { create } from "@bufbuild/protobuf";
import { DigestSchema, type Entry, EntrySchema, ValueSchema } from "../../../../gen/atomix/pb/map/map_pb.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import { invalid } from "../../errors.js";
import { termOf } from "./entry.js";

/** The key of the entry that has a request's control record. No key of a map is empty. */
const CONTROL_KEY = "";

/** A range of keys, of which a request has every entry that the primary has. */
export interface ComparedRange {
  /** The range begins after this key; undefined: at the first one. */
  after?: string;
  /** It ends with this key; undefined: at the last one. */
  through?: string;
  /** Entries with a later timestamp may be missing in the request. */
  upTo: bigint;
}

/** What a primary that was elected tells its backups in each request, besides the entries. */
export interface Control {
  /** Its term. */
  term: bigint;
  /** The number of the stream: each further stream of the term has a higher one. */
  stream: bigint;
  /** Every copy that is in sync has the entries up to this timestamp; undefined: it is not known yet. */
  replicated?: bigint;
  range?: ComparedRange;
}

/** The control record as the first entry of a request. */
export function controlEntry({ term, stream, replicated, range }: Control): Entry {
  const record = {
    stream: String(stream),
    ...(replicated !== undefined && { replicated: String(replicated) }),
    ...(range && { range: { ...range, upTo: String(range.upTo) } }),
  };
  return create(EntrySchema, {
    key: CONTROL_KEY,
    digest: create(DigestSchema, { term }),
    value: create(ValueSchema, { value: utf8(JSON.stringify(record)) }),
  });
}

/** The control record of a request, whose first entry must be one. */
export function controlIn([first]: readonly Entry[]): Control {
  const field = `entries[0].key`;
  if (first?.key !== CONTROL_KEY || !first.value) {
    throw invalid(
      field,
      first?.key,
      "must be empty, with a control record: this server's group has elections",
    );
  }
  const record = parse(fromUtf8(first.value.value));
  const replicated = asTimestamp(record?.replicated);
  return {
    term: termOf(first),
    stream: asTimestamp(record?.stream) ?? 0n,
    ...(replicated !== undefined && { replicated }),
    ...(record?.range && { range: rangeIn(record.range) }),
  };
}

/** Refuses control records in a request of a primary that was not elected. */
export function refuseControl(entries: readonly Entry[], keyBytes: number): void {
  const i = entries.findIndex(({ key }) => key === CONTROL_KEY);
  if (i >= 0) throw invalid(`entries[${i}].key`, "", `must not be empty: 1 to ${keyBytes} bytes`);
}

interface WrittenControl {
  stream?: unknown;
  replicated?: unknown;
  range?: WrittenRange;
}

interface WrittenRange {
  after?: unknown;
  through?: unknown;
  upTo?: unknown;
}

function parse(text: string): WrittenControl | undefined {
  try {
    return JSON.parse(text) as WrittenControl;
  } catch {
    throw invalid("entries[0].value", text, "must be JSON");
  }
}

const asTimestamp = (text: unknown): bigint | undefined =>
  typeof text === "string" && /^\d{1,20}$/.test(text) ? BigInt(text) : undefined;

function rangeIn({ after, through, upTo }: WrittenRange): ComparedRange {
  const timestamp = asTimestamp(upTo);
  if (timestamp === undefined) throw invalid("entries[0].value", upTo, "upTo must be a timestamp");
  return {
    ...(typeof after === "string" && { after }),
    ...(typeof through === "string" && { through }),
    upTo: timestamp,
  };
}
