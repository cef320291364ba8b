import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import { checkType } from "../../lib/checks.js";
import { deadline } from "../../rpc/deadline.js";
import { mayRepeat } from "../../rpc/repeatable.js";
import { openFor } from "../client-lifetime.js";
import { hasCode, infoIn } from "../errors/facts.js";
import { generatedClient } from "../generated-client.js";

/** A transport that can make one to another server, with the same options. */
interface SiblingMaker {
  sibling?: (url: string) => Transport | Promise<Transport>;
}

/** How the transports of a map are made. */
export interface MapTransports {
  /** The transport of the map, with retries and so on. */
  transport: Transport;
  /** The transport below it, which may be able to make others. */
  base: Transport;
  /** Adds to a transport like `base` what `transport` has. */
  wrap: (transport: Transport) => Transport;
  /** The transport to the server at a URL; in place of those that `base` makes. */
  primaries: ((url: string) => Transport) | undefined;
}

/** A call that follows primaries to more servers is given up: they contradict each other. */
const MAX_SERVERS = 6;

type MapClient = Client<typeof MapService>;
type Closable = Transport & { close?: () => unknown };

/** The transports to primaries, for each transport of a client: all of its maps share them. */
const siblings = new WeakMap<Transport, Map<string, Promise<MapClient>>>();

/** The primaries of a map's partitions, as far as they are known. */
export class Primaries {
  readonly #transports: MapTransports;
  readonly #client: MapClient;
  readonly #urls = new Map<number, string>();

  constructor(failure: string, transports: MapTransports) {
    this.#transports = transports;
    if (transports.primaries !== undefined) checkType(failure, "primaries", "function", transports.primaries);
    this.#client = generatedClient(MapService, transports.transport);
  }

  /**
   * Makes a call of `partition` on its primary. It is sent to another server if the one that was asked names the primary,
   * and then has certainly not done it, or if it may be repeated and the primary that was known is lost.
   */
  async call<T>(
    partition: number,
    options: CallOptions,
    isRead: boolean,
    send: (client: MapClient, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const remaining = deadline(options, "Cannot call the map's primary");
    let lost: unknown;
    for (let servers = 1; ; servers++) {
      const url = this.#urls.get(partition);
      try {
        return await send(await this.#clientAt(url), remaining());
      } catch (error) {
        // The conflict may be the effect of the attempt whose answer was lost.
        if (lost !== undefined && !isRead && hasCode(error, Code.Aborted)) throw lost;
        const next = hasCode(error, Code.Unavailable) ? infoIn(error)?.["primary"] : undefined;
        const canMove = next === undefined ? url !== undefined : next !== url && this.#mayCall(next);
        if (!hasCode(error, Code.Unavailable) || !canMove) throw error;
        if (next === undefined) {
          this.#urls.delete(partition);
          lost ??= error;
          // It is not known whether the lost primary has done it.
          const repeat = options.contextValues?.get(mayRepeat) ?? "no";
          if (!isRead && repeat === "no") throw error;
        } else {
          this.#urls.set(partition, next);
        }
        if (servers >= MAX_SERVERS) throw error;
      }
    }
  }

  async #clientAt(url: string | undefined): Promise<MapClient> {
    if (url === undefined) return this.#client;
    const { transport } = this.#transports;
    let known = siblings.get(transport);
    if (!known) siblings.set(transport, (known = new Map()));
    let client = known.get(url);
    if (!client) {
      client = this.#open(url);
      known.set(url, client);
      const clients = known;
      client.catch(() => clients.delete(url));
    }
    return client;
  }

  async #open(url: string): Promise<MapClient> {
    const { transport, base, wrap, primaries } = this.#transports;
    const own = primaries ? undefined : await (base as SiblingMaker).sibling?.(url);
    const opened: Closable | undefined = primaries ? primaries(url) : own;
    if (!opened) throw new ConnectError(`cannot call ${url}: no transport to it is known`, Code.Unavailable);
    // A transport that the application has made is closed by the application.
    if (own) openFor(transport, () => (own as Closable).close?.());
    return generatedClient(MapService, wrap(opened));
  }

  /** Whether this client can call the server at `url`. */
  #mayCall(url: string): boolean {
    const { base, primaries } = this.#transports;
    return URL.canParse(url) && (primaries !== undefined || (base as SiblingMaker).sibling !== undefined);
  }
}
