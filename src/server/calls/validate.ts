import type { DescEnum, DescField, DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import * as log from "../../../gen/atomix/log/log_pb.js";
import * as gossip from "../../../gen/atomix/map/map_pb.js";
import * as headers from "../../../gen/atomix/pb/headers/headers_pb.js";
import * as map from "../../../gen/atomix/pb/map/map_pb.js";
import * as primitive from "../../../gen/atomix/primitive/primitive_pb.js";
import * as protocol from "../../../gen/atomix/protocol/protocol_pb.js";
import * as appcallback from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import * as lifecycle from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import * as runtime from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { timestampFault } from "../../gossip/clock.js";
import { utf8Length } from "../../lib/utf8.js";
import type { Limits } from "../config/config.js";
import { exhausted, invalid } from "../errors.js";

/**
 * The one place where requests are checked, before any service or engine sees them: required fields, the form of
 * names and keys, the range of numbers, enum numbers that the contract does not know, and the limits on sizes. What
 * depends on what the server holds (an etag that does not match, a store that is not there) is the service's.
 */
export function validateRequests(limits: Limits): Interceptor {
  const check = checker(limits);
  return (next) => (request) => {
    if (!request.stream) {
      check(request.method.input, request.message);
      return next(request);
    }
    const { message, method } = request;
    const checked = async function* () {
      for await (const part of message) {
        check(method.input, part);
        yield part;
      }
    };
    return next({ ...request, message: checked() });
  };
}

/** Refuses `value`, found at `field`, or returns. */
type Rule = (value: unknown, field: string, limits: Limits) => void;

const empty = "must not be empty";

/** A name that the configuration or a client gave to something: short, and without control characters. */
const optionalName: Rule = (value, field) => {
  const text = value as string;
  if (text.length > 255) throw invalid(field, text, "must be at most 255 characters");
  if (hasControls(text)) throw invalid(field, text, "must not contain control characters");
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const hasControls = (text: string): boolean => /[\u0000-\u001f\u007f]/.test(text);

const name: Rule = (value, field, limits) => {
  if (value === "") throw invalid(field, value, empty);
  optionalName(value, field, limits);
};

/** Refuses what is not a name: for those in request headers, which no rule of a message reaches. */
export const checkName = (field: string, text: string, limits: Limits): void => name(text, field, limits);

/** Opaque UTF-8, possibly empty. */
const prefix: Rule = (value, field, { keyBytes }) => {
  const bytes = utf8Length(value as string);
  if (bytes > keyBytes) throw exhausted("keyBytes", keyBytes, `${field} has ${bytes} bytes`);
};

const key: Rule = (value, field, limits) => {
  if (value === "") throw invalid(field, value, `${empty}: 1 to ${limits.keyBytes} bytes`);
  prefix(value, field, limits);
};

const keys: Rule = (value, field, limits) => {
  items(value, field, limits);
  for (const [i, item] of (value as string[]).entries()) key(item, `${field}[${i}]`, limits);
};

const items: Rule = (value, field, { batchItems }) => {
  const { length } = value as unknown[];
  if (length > batchItems) throw exhausted("batchItems", batchItems, `${field} has ${length} items`);
};

const someItems: Rule = (value, field, limits) => {
  if ((value as unknown[]).length === 0) throw invalid(field, "[]", "must have at least one item");
  items(value, field, limits);
};

/** Texts by name, which together are no larger than a value may be. */
const pairs: Rule = (value, field, { valueBytes }) => {
  let length = 0;
  for (const pair of Object.entries(value as object)) for (const text of pair) length += utf8Length(text);
  if (length > valueBytes) throw exhausted("valueBytes", valueBytes, `${field} has ${length} bytes`);
};

const bytes: Rule = (value, field, { valueBytes }) => {
  const length = typeof value === "string" ? utf8Length(value) : (value as Uint8Array).length;
  if (length > valueBytes) throw exhausted("valueBytes", valueBytes, `${field} has ${length} bytes`);
};

/** What an Any holds, where there is one. */
const anyBytes: Rule = (value, field, limits) => {
  if (value !== undefined) bytes((value as { value: Uint8Array }).value, `${field}.value`, limits);
};

/** The name of a secret: to the operating system, a NUL would end it. */
const secretKey: Rule = (value, field, limits) => {
  key(value, field, limits);
  if (hasControls(value as string)) throw invalid(field, value, "must not contain control characters");
};

/** The media type of what comes with it: it becomes a header, where a line break would begin another one. */
const mediaType: Rule = (value, field) => checkMediaType(field, value as string);

/** Refuses what is no media type: also where no rule of a message reaches it. */
export function checkMediaType(field: string, text: string): void {
  if (/^[\x20-\x7e]{0,255}$/.test(text)) return;
  throw invalid(field, text, "must be a media type: at most 255 printable ASCII characters");
}

const required: Rule = (value, field) => {
  if (value === undefined) throw invalid(field, value, "must be set");
};

const positive: Rule = (value, field) => {
  if ((value as number) <= 0) throw invalid(field, value, "must be above 0");
};

const notNegative: Rule = (value, field) => {
  if ((value as number) < 0) throw invalid(field, value, "must not be below 0");
};

const notEmpty: Rule = (value, field) => {
  if (value === "") throw invalid(field, value, empty);
};

/** The metadata of a publish, as far as it is for the server. */
const publishMetadata: Rule = (value, field, limits) => {
  pairs(value, field, limits);
  const { ttlInSeconds } = value as Record<string, string>;
  if (ttlInSeconds === undefined || /^[+-]?\d{1,11}$/.test(ttlInSeconds)) return;
  throw invalid(`${field}["ttlInSeconds"]`, ttlInSeconds, "must be a whole number of seconds");
};

/** The metadata of a subscription, as far as it is for the server. */
const subscriptionMetadata: Rule = (value, field, limits) => {
  const { consumerGroup = "", maxInFlight = "1" } = value as Record<string, string>;
  optionalName(consumerGroup, `${field}["consumerGroup"]`, limits);
  if (/^[1-9]\d{0,8}$/.test(maxInFlight)) return;
  throw invalid(`${field}["maxInFlight"]`, maxInFlight, "must be a whole number above 0");
};

/** A request about one file: unlike a listing, it must name it. */
const oneFile: Rule = (value, field, limits) => {
  required(value, field, limits);
  key((value as runtime.FileRequest).name, `${field}.name`, limits);
};

/** The range to read of a file. */
const range: Rule = (value, field) => {
  for (const key of ["offset", "length"]) {
    const text = (value as Record<string, string>)[key];
    if (text === undefined || /^\d{1,20}$/.test(text)) continue;
    throw invalid(`${field}["${key}"]`, text, "must be a whole number of bytes, 0 or more");
  }
};

/** What a client wants to be kept with a file. */
const fileMetadata: Rule = (value, field, limits) => {
  const { fileMetadataBytes } = limits;
  const metadata = value as Record<string, string>;
  const { contentType = "", ifAbsent = "false", sha256 } = metadata;
  mediaType(contentType, `${field}["contentType"]`, limits);
  if (ifAbsent !== "true" && ifAbsent !== "false") {
    throw invalid(`${field}["ifAbsent"]`, ifAbsent, 'must be "true" or "false"');
  }
  if (sha256 !== undefined) {
    throw invalid(`${field}["sha256"]`, sha256, "must be left out: the server computes it");
  }
  let bytes = 0;
  for (const [key, text] of Object.entries(metadata)) bytes += utf8Length(key) + utf8Length(text) + 8;
  if (bytes > fileMetadataBytes) {
    throw exhausted("fileMetadataBytes", fileMetadataBytes, `${field} has ${bytes} bytes`);
  }
};

/** Entries of a gossip map, or their digests, by key. */
const gossipEntries: Rule = (value, field, limits) => {
  const keys = Object.keys(value as object);
  const most = limits.gossipEntries;
  if (keys.length > most) throw exhausted("gossipEntries", most, `${field} has ${keys.length} keys`);
  for (const each of keys) key(each, `${field}[${JSON.stringify(each)}]`, limits);
};

/** A time on the clocks of a gossip map's members. */
const timestamp: Rule = (value, field) => {
  const fault = timestampFault(value as Uint8Array, Date.now());
  if (fault) throw invalid(field, value, fault);
};

type Rules<D extends DescMessage> = { [F in keyof Omit<MessageShape<D>, keyof Message>]?: Rule };

const rules = new Map<DescMessage, Record<string, Rule>>();
const rule = <D extends DescMessage>(desc: D, fields: Rules<D>) => {
  rules.set(desc, fields as Record<string, Rule>);
};

const identity = { storeName: name, appId: optionalName, group: optionalName, label: optionalName };

rule(runtime.SayHelloRequestSchema, { serviceName: name, data: anyBytes });
rule(runtime.InvokeServiceRequestSchema, { id: name, message: required });
rule(runtime.CommonInvokeRequestSchema, { method: notEmpty, data: anyBytes, contentType: mediaType });
rule(runtime.GetConfigurationRequestSchema, { ...identity, keys });
rule(runtime.SubscribeConfigurationRequestSchema, { ...identity, keys });
rule(runtime.DeleteConfigurationRequestSchema, { ...identity, keys });
rule(runtime.SaveConfigurationRequestSchema, { storeName: name, appId: optionalName, items: someItems });
rule(runtime.ConfigurationItemSchema, {
  key,
  content: bytes,
  group: optionalName,
  label: optionalName,
  tags: pairs,
  metadata: pairs,
});
rule(runtime.TryLockRequestSchema, { storeName: name, resourceId: key, lockOwner: key, expire: positive });
rule(runtime.UnlockRequestSchema, { storeName: name, resourceId: key, lockOwner: key });
rule(runtime.LockKeepAliveRequestSchema, {
  storeName: name,
  resourceId: key,
  lockOwner: key,
  expire: positive,
});
rule(runtime.GetNextIdRequestSchema, { storeName: name, key });
rule(runtime.GetStateRequestSchema, { storeName: name, key });
rule(runtime.GetBulkStateRequestSchema, { storeName: name, keys });
rule(runtime.SaveStateRequestSchema, { storeName: name, states: items });
rule(runtime.DeleteStateRequestSchema, { storeName: name, key });
rule(runtime.DeleteBulkStateRequestSchema, { storeName: name, states: items });
rule(runtime.ExecuteStateTransactionRequestSchema, { storeName: name, operations: items });
rule(runtime.TransactionalStateOperationSchema, { request: required });
rule(runtime.StateItemSchema, { key, value: bytes });
rule(runtime.PublishEventRequestSchema, {
  pubsubName: name,
  topic: name,
  data: bytes,
  dataContentType: mediaType,
  metadata: publishMetadata,
});
rule(runtime.SubscribeTopicEventsRequestInitialSchema, {
  pubsubName: name,
  topic: name,
  metadata: subscriptionMetadata,
  deadLetterTopic: optionalName,
});
rule(runtime.SubscribeTopicEventsRequestProcessedSchema, { id: notEmpty });
rule(runtime.GetFileRequestSchema, { storeName: name, name: key, metadata: range });
rule(runtime.PutFileRequestSchema, { storeName: optionalName, name: prefix, metadata: fileMetadata });
rule(runtime.FileRequestSchema, { storeName: name, name: prefix });
rule(runtime.ListFileRequestSchema, { request: required, pageSize: notNegative, marker: prefix });
rule(runtime.DelFileRequestSchema, { request: oneFile });
rule(runtime.GetFileMetaRequestSchema, { request: oneFile });
rule(runtime.InvokeBindingRequestSchema, { name, operation: notEmpty, data: bytes });
rule(runtime.GetSecretRequestSchema, { storeName: name, key: secretKey });
rule(runtime.GetBulkSecretRequestSchema, { storeName: name });
rule(lifecycle.DynamicConfigurationSchema, { componentConfig: required });
rule(lifecycle.ComponentConfigSchema, {
  kind: name,
  name,
  metadata: (value, field) => {
    if (Object.keys(value as object).length === 0) throw invalid(field, "{}", empty);
  },
});
rule(protocol.ProtocolIdSchema, { namespace: optionalName, name });
rule(primitive.PrimitiveIdSchema, { namespace: optionalName, name });
rule(headers.RequestHeaderSchema, { protocol: required, primitive: required, partition: positive });
rule(map.PutRequestSchema, { header: required, key, value: required });
rule(map.GetRequestSchema, { header: required, key });
rule(map.RemoveRequestSchema, { header: required, key });
rule(map.BackupRequestSchema, { header: required, entries: items });
rule(map.EntrySchema, { key, digest: required });
rule(map.ValueSchema, { value: bytes });
rule(gossip.MessageSchema, { source: name, target: required });
rule(primitive.NameSchema, { name, namespace: optionalName });
rule(gossip.UpdateSchema, { updates: gossipEntries, timestamp });
rule(gossip.UpdateRequestSchema, { keys, timestamp });
rule(gossip.AntiEntropyAdvertisementSchema, { digest: gossipEntries, timestamp });
rule(gossip.MapValueSchema, { digest: required, value: bytes });
rule(gossip.DigestSchema, { timestamp });
rule(log.ProduceRequestSchema, { value: bytes });

/** The fields of a message that are kept as one value, and together have no more bytes than one may have. */
const together = new Map<DescMessage, readonly string[]>([
  [runtime.ConfigurationItemSchema, ["content", "tags", "metadata"]],
  [runtime.PublishEventRequestSchema, ["data", "metadata"]],
  [runtime.InvokeBindingRequestSchema, ["data", "metadata"]],
]);

function sizeOf(value: unknown): number {
  if (typeof value === "string") return utf8Length(value);
  if (value instanceof Uint8Array) return value.length;
  let size = 0;
  for (const [name, text] of Object.entries(value as Record<string, string>))
    size += utf8Length(name) + utf8Length(text);
  return size;
}

/** The enums whose unknown numbers mean something too, as the contract says: the service reads them. */
const open = new Set<DescEnum>([appcallback.TopicEventResponse_TopicEventResponseStatusSchema]);

type Check = (message: Record<string, unknown>, at: string) => void;

/** Makes the rules of each message type into one function, once. */
function checker(limits: Limits): (desc: DescMessage, message: Message) => void {
  const compiled = new Map<DescMessage, Check[]>();

  const checksOf = (desc: DescMessage): Check[] => {
    let checks = compiled.get(desc);
    if (checks) return checks;
    compiled.set(desc, (checks = []));
    const whole = together.get(desc);
    if (whole) {
      checks.push((message, at) => {
        const size = whole.reduce((sum, field) => sum + sizeOf(message[field]), 0);
        if (size <= limits.valueBytes) return;
        const what = `${at}${whole[0]} has ${size} bytes with ${whole.slice(1).join(" and ")}`;
        throw exhausted("valueBytes", limits.valueBytes, what);
      });
    }
    for (const field of desc.fields) {
      const own = rules.get(desc)?.[field.localName];
      const inner = innerCheck(field);
      if (!own && !inner) continue;
      checks.push((message, at) => {
        const oneof = field.oneof && (message[field.oneof.localName] as { case?: string; value?: unknown });
        if (oneof && oneof.case !== field.localName) return;
        const value = oneof ? oneof.value : message[field.localName];
        // An optional scalar that is not set has nothing to check; an unset message may be a required one.
        if (value === undefined && !field.message) return;
        own?.(value, at + field.name, limits);
        if (value !== undefined) inner?.(value, at + field.name);
      });
    }
    return checks;
  };

  const innerCheck = (field: DescField): ((value: unknown, at: string) => void) | undefined => {
    const { message, enum: numbers } = field;
    const one = message
      ? (value: unknown, at: string) => run(message, value as Record<string, unknown>, at)
      : numbers && !open.has(numbers)
        ? (value: unknown, at: string) => {
            if (numbers.value[value as number]) return;
            const known = numbers.values.map((each) => `${each.number} (${each.name})`).join(", ");
            throw invalid(at, value, `must be one of ${known}`);
          }
        : undefined;
    if (!one || field.fieldKind === "scalar") return undefined;
    if (field.fieldKind === "list") {
      return (value, at) => {
        for (const [i, item] of (value as unknown[]).entries()) one(item, `${at}[${i}]`);
      };
    }
    if (field.fieldKind === "map") {
      return (value, at) => {
        for (const [k, item] of Object.entries(value as object)) one(item, `${at}[${JSON.stringify(k)}]`);
      };
    }
    return one;
  };

  const run = (desc: DescMessage, message: Record<string, unknown>, at: string) => {
    for (const check of checksOf(desc)) check(message, at ? `${at}.` : "");
  };
  return (desc, message) => run(desc, message as unknown as Record<string, unknown>, "");
}
