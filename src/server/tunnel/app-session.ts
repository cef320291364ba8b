import type { ConnectError, Interceptor } from "@connectrpc/connect";
import { quote } from "../../lib/quote.js";
import { runAfter } from "../../lib/timer.js";
import { unchangedError } from "../../rpc/with-error-mapping.js";
import { createCaller } from "../../tunnel/call/caller.js";
import type { PeerSettings } from "../../tunnel/session/peer.js";
import type { Session } from "../../tunnel/session.js";
import { CLOSE_CODE } from "../../tunnel/wire/protocol-error.js";
import type { Access } from "../access/gate.js";
import type { ServiceContext } from "../context.js";
import { joinApp } from "../services/pubsub/apps.js";
import { topicOf } from "../services/pubsub/delivery.js";

interface AppSessionOptions {
  readonly context: ServiceContext;
  readonly access: Access;
  /** The interceptors of every call to the app. */
  readonly clientInterceptors: readonly Interceptor[];
}

/** The app at the other end of a tunnel: it is called from the time that it is authorized until end(). */
export class AppSession {
  readonly #tunnel: Session;
  readonly #options: AppSessionOptions;
  readonly #appId: string;
  readonly #ended = new AbortController();
  #removeApp = () => {};
  #stopTimer = () => {};

  constructor(tunnel: Session, peer: PeerSettings, options: AppSessionOptions) {
    this.#tunnel = tunnel;
    this.#options = options;
    this.#appId = peer.appId ?? "";
    this.#serve(peer).catch((error: ConnectError) => {
      options.context.log.warn({ app: this.#appId, err: error }, "an app that dialled in is not served");
      if (!this.#ended.signal.aborted) tunnel.close(CLOSE_CODE.refused, error.message);
    });
  }

  /** Calls the app no more. */
  end(): void {
    this.#ended.abort();
    this.#removeApp();
    this.#stopTimer();
  }

  async #serve({ authorization, offer = 0 }: PeerSettings): Promise<void> {
    const { context, access, clientInterceptors } = this.#options;
    const ended = this.#ended.signal;
    const { mayRead, expiresAtMs } = await access.authorizeApp(this.#appId, authorization ?? null);
    if (ended.aborted) return;
    if (expiresAtMs !== undefined) this.#stopTimer = runAfter(expiresAtMs - Date.now(), () => this.#expire());
    const transport = createCaller(this.#tunnel, {
      messageBytes: context.limits.messageBytes,
      interceptors: clientInterceptors,
    });
    this.#removeApp = await context.apps.add(this.#appId, transport);
    if (ended.aborted) return this.#removeApp();
    this.#tunnel.sendSettings({ calledOffer: offer });
    await joinApp(context, this.#appId, transport, AbortSignal.any([ended, context.closing]), {
      mayRead,
      onSubscriptions: (subscriptions) =>
        context.apps.setGroups(
          this.#appId,
          subscriptions.map(({ pubsub, topic, group }) => ({ topic: topicOf(pubsub, topic), group })),
        ),
      readError: unchangedError,
    });
  }

  /** Closes the tunnel when the app's token expires: the app may dial again with another token. */
  #expire(): void {
    this.end();
    this.#tunnel.close(CLOSE_CODE.refused, `the token of the app ${quote(this.#appId)} has expired`);
  }
}
