import { Code, ConnectError } from "@connectrpc/connect";
import { GossipMapService, type Message } from "../../../../gen/atomix/map/map_pb.js";
import type { Environment } from "../../../gossip/environment.js";
import type { Link } from "../../../gossip/link.js";
import { Multiplexer } from "../../../gossip/multiplexer.js";
import { abortOnBreak } from "../../../lib/abort-on-break.js";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { onAbort } from "../../../lib/on-abort.js";
import type { MessageCheck } from "../../calls/validate.js";
import type { ServiceContext } from "../../context.js";
import { refuseClocksAhead } from "./clock-check.js";
import type { GossipHub } from "./hub.js";
import type { GossipPeer } from "./peer.js";

const BACKOFF: Backoff = { minMs: 100, maxMs: 10_000 };

/** The mean delay after a refusal, which another attempt is unlikely to change. */
const REFUSED_MS = 30_000;

/** How long the peer may take to receive the last messages of a stream that is not needed any more. */
const FLUSH_MS = 2000;

/** The codes of a peer that is away, or will be able to answer soon. */
const TRANSIENT = new Set([
  Code.Unavailable,
  Code.Canceled,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.Internal,
  Code.Unknown,
]);

interface PeerStreamOptions {
  peer: GossipPeer;
  hub: GossipHub;
  target: { namespace: string; name: string };
  context: ServiceContext;
  environment: Environment;
  /** Throws if a message of the peer is malformed. */
  check: MessageCheck;
  /** Called when the peer has answered a stream with its id. */
  onAnswer: () => void;
}

/** The stream of one map to a peer: it is opened again for as long as it is wanted. */
export class PeerStream {
  readonly #options: PeerStreamOptions;
  #isWanted = false;
  #isRunning = false;
  #stream: { multiplexer: Multiplexer; end: () => void; isFinishing: boolean } | undefined;
  /** Ends the delay before the next stream. */
  #wake = () => {};
  /** The refusal that was logged last. */
  #refusal: Code | undefined;

  constructor(options: PeerStreamOptions) {
    this.#options = options;
  }

  get peer(): GossipPeer {
    return this.#options.peer;
  }

  /** Opens the stream, or ends it after everything that is pending. */
  want(isWanted: boolean): void {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    if (isWanted) {
      if (!this.#isRunning) void this.#run();
      return;
    }
    this.#wake();
    const stream = this.#stream;
    if (!stream) return;
    stream.isFinishing = true;
    stream.multiplexer.finish();
    this.#options.environment.after(FLUSH_MS, stream.end);
  }

  get #isNeeded(): boolean {
    const { context, hub, peer } = this.#options;
    return this.#isWanted && !hub.closed && !peer.isSelf && !context.closing.aborted;
  }

  async #run(): Promise<void> {
    const { environment } = this.#options;
    this.#isRunning = true;
    for (let failures = 1; this.#isNeeded; failures++) {
      const openedMs = environment.monotonicMs();
      const error = await this.#runStream();
      // It may have been finished, and be wanted again.
      if (!this.#isNeeded) break;
      if (!error) {
        failures = 0;
        continue;
      }
      if (environment.monotonicMs() - openedMs > BACKOFF.maxMs) {
        failures = 1;
        this.#refusal = undefined;
      }
      this.#report(error);
      const delayMs = TRANSIENT.has(error.code)
        ? jitteredMs(BACKOFF, failures, () => environment.random())
        : REFUSED_MS * (0.5 + environment.random());
      await this.#delay(delayMs);
    }
    this.#isRunning = false;
  }

  /** Runs one stream to its end. Returns the error that ended it; undefined if it was finished. */
  async #runStream(): Promise<ConnectError | undefined> {
    const { hub, peer, context, environment } = this.#options;
    const ending = new AbortController();
    const multiplexer = new Multiplexer(environment);
    const end = (error?: unknown) => ending.abort(error);
    const stream = { multiplexer, end: () => end(), isFinishing: false };
    this.#stream = stream;
    const { wake } = multiplexer;
    const link = hub.join({ source: peer.url, wake, fail: end, access: undefined, peer: { id: undefined } });
    multiplexer.add(link);
    link.advertise();
    const stopListening = onAbort(context.closing, stream.end);
    let failure: ConnectError | undefined;
    try {
      const open = (signal: AbortSignal) => peer.connect(multiplexer.messages(), signal);
      await this.#read(abortOnBreak(open, ending.signal), link);
      failure = new ConnectError("the peer ended the stream", Code.Unavailable);
    } catch (error) {
      failure = ConnectError.from(error);
    }
    stopListening();
    multiplexer.stop();
    this.#stream = undefined;
    hub.leave(link);
    return stream.isFinishing ? undefined : failure;
  }

  async #read(messages: AsyncIterable<Message>, link: Link): Promise<void> {
    const { hub, peer, target, context, environment, check, onAnswer } = this.#options;
    let hasAnswered = false;
    for await (const message of refuseClocksAhead(messages, context, environment)) {
      check(GossipMapService.method.connect.output, message);
      if (message.target?.name !== target.name || message.target.namespace !== target.namespace) continue;
      if (!hasAnswered) {
        hasAnswered = true;
        peer.answered(message.source);
        if (peer.isSelf) return;
        onAnswer();
      }
      const updates = link.receive(message);
      if (updates.length > 0) await hub.write(updates, link);
    }
  }

  /** Counts a failure, and logs it once until it changes. */
  #report(error: ConnectError): void {
    const { context, peer, target } = this.#options;
    context.count("fairlead_gossip_peer_failures_total", 1);
    if (TRANSIENT.has(error.code) || error.code === Code.Unauthenticated) {
      peer.failed(error);
      return;
    }
    if (this.#refusal === error.code) return;
    this.#refusal = error.code;
    const fields = { peer: peer.url, map: target.name, err: error };
    context.log.warn(fields, "a gossip map cannot be synchronized with a peer");
  }

  /** Resolves after `delayMs`, or when the stream is not needed any more. */
  async #delay(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const stopTimer = this.#options.environment.after(delayMs, resolve);
      const stopListening = onAbort(this.#options.context.closing, () => this.#wake());
      this.#wake = () => {
        stopTimer();
        stopListening();
        resolve();
      };
    });
    this.#wake();
    this.#wake = () => {};
  }
}
