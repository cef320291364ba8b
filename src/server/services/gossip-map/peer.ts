import { type Client, Code, type ConnectError, createClient } from "@connectrpc/connect";
import { GossipMapService, type Message } from "../../../../gen/atomix/map/map_pb.js";
import { asyncDispose } from "../../../lib/dispose.js";
import { GOSSIP_PEER_HEADER } from "../../../rpc/extension-headers.js";
import { tokenOf, withCredential } from "../../access/credential.js";
import type { Config } from "../../config/config.js";
import type { ServiceContext } from "../../context.js";

/** Another server of the list, with the connection that the streams of all maps share. */
export class GossipPeer {
  readonly url: string;
  /** Whether it has turned out to be this server itself: servers may share one list. */
  isSelf = false;
  readonly #log: ServiceContext["log"];
  readonly #member: string;
  readonly #client: Client<typeof GossipMapService>;
  readonly #dispose: () => PromiseLike<void> | undefined;
  #id: string | undefined;
  /** What was logged last. */
  #state: "connected" | Code | undefined;

  /** `member` is the id of this server as a member; `at` is the place of the settings, for errors. */
  constructor(
    { url, ...credential }: Config["gossip"]["peers"][number],
    { platform, log }: ServiceContext,
    { member, at }: { member: string; at: string },
  ) {
    this.url = url;
    this.#log = log;
    this.#member = member;
    const token = tokenOf(platform.env, credential, at);
    const transport = platform.dial(url, "grpc");
    this.#client = createClient(GossipMapService, withCredential(transport, token));
    this.#dispose = () => transport[asyncDispose]?.();
  }

  /** The id of the server as a member when it answered last; undefined: it never has. */
  get id(): string | undefined {
    return this.#id;
  }

  /** Opens a stream. */
  connect(messages: AsyncIterable<Message>, signal: AbortSignal): AsyncIterable<Message> {
    const headers = { [GOSSIP_PEER_HEADER]: encodeURIComponent(this.#member) };
    return this.#client.connect(messages, { signal, headers });
  }

  /** To be called with the id of the server that has answered a stream. */
  answered(id: string): void {
    this.#id = id;
    this.isSelf = id === this.#member;
    if (this.#state === "connected") return;
    this.#state = "connected";
    const message = this.isSelf
      ? "a gossip peer is this server itself, and is left out"
      : "a gossip peer is connected";
    this.#log.info({ peer: this.url }, message);
  }

  /** To be called if a stream ended by a failure that is not about its map. It is logged once until it changes. */
  failed(error: ConnectError): void {
    if (this.#state === error.code) return;
    this.#state = error.code;
    const isRefused = error.code === Code.Unauthenticated;
    const message = isRefused ? "a gossip peer refuses the token of this server" : "a gossip peer is away";
    this.#log.warn({ peer: this.url, err: error }, message);
  }

  async close(): Promise<void> {
    await this.#dispose();
  }
}
