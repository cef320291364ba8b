import type { SubscribeTopicEventsRequestInitial } from "../../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { APP_ID_HEADER } from "../../../rpc/extension-headers.js";

/** The consumer group that a subscription as a stream is for; `appId` is this runtime's own. */
export const groupOf = (
  { metadata }: Pick<SubscribeTopicEventsRequestInitial, "metadata">,
  header: Headers,
  appId: string,
): string => metadata["consumerGroup"] || (header.get(APP_ID_HEADER) ?? appId);
