import type { SubscribeTopicEventsRequestInitial } from "../../../../gen/spec/proto/runtime/v1/runtime_pb.js";

/** The request header by which a caller says which app it is: the group of its subscriptions where they name none. */
export const APP_ID_HEADER = "fairlead-app-id";

/** The consumer group that a subscription as a stream is for; `appId` is this runtime's own. */
export const groupOf = (
  { metadata }: Pick<SubscribeTopicEventsRequestInitial, "metadata">,
  header: Headers,
  appId: string,
): string => metadata["consumerGroup"] || (header.get(APP_ID_HEADER) ?? appId);
