import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client, Transport } from "@connectrpc/connect";
import type {
  Runtime,
  SubscribeConfigurationRequestSchema,
  SubscribeConfigurationResponse,
} from "../../../gen/runtime/configuration_pb.js";
import { onAbort } from "../../lib/on-abort.js";
import { Queue } from "../../lib/queue.js";
import { canceled } from "../../rpc/canceled.js";

type Request = MessageInitShape<typeof SubscribeConfigurationRequestSchema>;

/** One stream and its listeners. */
interface SharedStream {
  requests: Queue<Request>;
  listeners: Set<Queue<SubscribeConfigurationResponse>>;
  close(): void;
}

/** The open streams, by transport and by the group that they follow. */
const openStreams = new WeakMap<Transport, Map<string, SharedStream>>();

/**
 * The answers of SubscribeConfiguration to `request`. All requests for the same group share one stream: the Go runtime
 * sends each change only to the last stream that asked for its key, and the end of any stream ends all of them. A
 * listener gets the answers to the other requests as well. The stream is closed when its last listener leaves.
 */
export async function* sharedSubscription(
  { transport, client }: { transport: Transport; client: Client<typeof Runtime> },
  request: Request,
  signal: AbortSignal,
): AsyncGenerator<SubscribeConfigurationResponse, void, undefined> {
  const { keys: _, ...place } = request;
  const shared = streamFor(transport, client, JSON.stringify(place));
  const listener = new Queue<SubscribeConfigurationResponse>();
  const stop = onAbort(signal, () => listener.fail(canceled(signal)));
  shared.listeners.add(listener);
  shared.requests.push(request);
  try {
    yield* listener;
  } finally {
    stop();
    shared.listeners.delete(listener);
    if (shared.listeners.size === 0) shared.close();
  }
}

function streamFor(transport: Transport, client: Client<typeof Runtime>, place: string): SharedStream {
  const streams = openStreams.get(transport) ?? new Map<string, SharedStream>();
  openStreams.set(transport, streams);
  const existing = streams.get(place);
  if (existing) return existing;

  const call = new AbortController();
  const shared: SharedStream = {
    requests: new Queue(),
    listeners: new Set(),
    close() {
      if (streams.get(place) === shared) streams.delete(place);
      // The call is canceled before its requests end: the Go runtime ends the subscription with the requests.
      call.abort();
      shared.requests.end();
    },
  };
  streams.set(place, shared);
  const read = async () => {
    try {
      const options = { timeoutMs: 0, signal: call.signal };
      for await (const response of client.subscribeConfiguration(shared.requests, options)) {
        for (const listener of shared.listeners) listener.push(response);
      }
      for (const listener of shared.listeners) listener.end();
    } catch (error) {
      for (const listener of shared.listeners) listener.fail(error);
    } finally {
      shared.close();
    }
  };
  void read();
  return shared;
}
