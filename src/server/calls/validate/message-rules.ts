import type { DescEnum, DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import * as log from "../../../../gen/atomix/log/log_pb.js";
import * as gossip from "../../../../gen/atomix/map/map_pb.js";
import * as headers from "../../../../gen/atomix/pb/headers/headers_pb.js";
import * as map from "../../../../gen/atomix/pb/map/map_pb.js";
import * as primitive from "../../../../gen/atomix/primitive/primitive_pb.js";
import * as protocol from "../../../../gen/atomix/protocol/protocol_pb.js";
import * as appcallback from "../../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import * as lifecycle from "../../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import * as runtime from "../../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { invalid } from "../../errors.js";
import {
  anyBytes,
  boundedBytes,
  EMPTY,
  type FieldRule,
  fileMetadata,
  gossipDigests,
  gossipEntries,
  items,
  key,
  keys,
  mediaType,
  name,
  notEmpty,
  notNegative,
  oneFile,
  optionalName,
  pairs,
  positive,
  prefix,
  publishMetadata,
  range,
  required,
  secretKey,
  someItems,
  subscriptionMetadata,
  timestamp,
} from "./field-rules.js";

type Rules<D extends DescMessage> = { [F in keyof Omit<MessageShape<D>, keyof Message>]?: FieldRule };

const rules = new Map<DescMessage, Readonly<Record<string, FieldRule>>>();

/** The rules for the fields of a message type, by the fields' local names. */
export const rulesOf = (desc: DescMessage): Readonly<Record<string, FieldRule>> | undefined =>
  rules.get(desc);

const rule = <D extends DescMessage>(desc: D, fields: Rules<D>) => {
  rules.set(desc, fields as Record<string, FieldRule>);
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
  content: boundedBytes,
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
rule(runtime.StateItemSchema, { key, value: boundedBytes });
rule(runtime.PublishEventRequestSchema, {
  pubsubName: name,
  topic: name,
  data: boundedBytes,
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
rule(runtime.InvokeBindingRequestSchema, { name, operation: notEmpty, data: boundedBytes });
rule(runtime.GetSecretRequestSchema, { storeName: name, key: secretKey });
rule(runtime.GetBulkSecretRequestSchema, { storeName: name });
rule(lifecycle.DynamicConfigurationSchema, { componentConfig: required });
rule(lifecycle.ComponentConfigSchema, {
  kind: name,
  name,
  metadata: (value, field) => {
    if (Object.keys(value as object).length === 0) throw invalid(field, "{}", EMPTY);
  },
});
rule(protocol.ProtocolIdSchema, { namespace: optionalName, name });
rule(primitive.PrimitiveIdSchema, { namespace: optionalName, name });
rule(headers.RequestHeaderSchema, { protocol: required, primitive: required, partition: positive });
rule(map.PutRequestSchema, { header: required, key, value: required });
rule(map.GetRequestSchema, { header: required, key });
rule(map.RemoveRequestSchema, { header: required, key });
rule(map.BackupRequestSchema, { header: required, entries: items });
// Servers that elect a primary send control records at the empty key; others refuse it.
rule(map.EntrySchema, { key: prefix, digest: required });
rule(map.ValueSchema, { value: boundedBytes });
rule(gossip.MessageSchema, { source: name, target: required });
rule(primitive.NameSchema, { name, namespace: optionalName });
rule(gossip.UpdateSchema, { updates: gossipEntries, timestamp });
rule(gossip.UpdateRequestSchema, { keys, timestamp });
rule(gossip.AntiEntropyAdvertisementSchema, { digest: gossipDigests, timestamp });
rule(gossip.MapValueSchema, { digest: required, value: boundedBytes });
rule(gossip.DigestSchema, { timestamp });
rule(log.ProduceRequestSchema, { value: boundedBytes });

/** The fields of a message that are stored as one value: together they have at most as many bytes as a value. */
export const VALUE_FIELDS: ReadonlyMap<DescMessage, readonly string[]> = new Map<
  DescMessage,
  readonly string[]
>([
  [runtime.ConfigurationItemSchema, ["content", "tags", "metadata"]],
  [runtime.PublishEventRequestSchema, ["data", "metadata"]],
  [runtime.InvokeBindingRequestSchema, ["data", "metadata"]],
]);

/** The enums whose unknown numbers have a meaning by the contract: the service reads them. */
export const OPEN_ENUMS: ReadonlySet<DescEnum> = new Set([
  appcallback.TopicEventResponse_TopicEventResponseStatusSchema,
]);
