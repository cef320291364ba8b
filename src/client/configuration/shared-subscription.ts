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

/** One stream, and those that listen to it. */
interface Shared {
  requests: Queue<Request>;
  listeners: Set<Queue<SubscribeConfigurationResponse>>;
  close(): void;
}

/** The streams that are open, by transport and by the group that they follow. */
const open = new WeakMap<Transport, Map<string, Shared>>();

/**
 * What SubscribeConfiguration answers to `request`, over one stream for all requests for the same group: the Go runtime
 * tells each change to the last stream that asked for its key, and the end of any stream ends all of them. Listeners hear
 * the answers to each other's requests, too. The stream is closed when the last one has left.
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

function streamFor(transport: Transport, client: Client<typeof Runtime>, place: string): Shared {
  let streams = open.get(transport);
  if (!streams) open.set(transport, (streams = new Map()));
  const found = streams.get(place);
  if (found) return found;

  const all = streams;
  const over = new AbortController();
  const shared: Shared = {
    requests: new Queue(),
    listeners: new Set(),
    close() {
      if (all.get(place) === shared) all.delete(place);
      // The requests stay open as long as the stream: with their end the Go runtime ends the subscription.
      over.abort();
      shared.requests.end();
    },
  };
  streams.set(place, shared);
  const read = async () => {
    try {
      const options = { timeoutMs: 0, signal: over.signal };
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
