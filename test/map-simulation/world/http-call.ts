import type {
  UniversalClientRequest,
  UniversalClientResponse,
  UniversalHandlerFn,
} from "@connectrpc/connect/protocol";
import type { Machine } from "./machine.js";
import type { Channel, Network } from "./network.js";

/** The handlers of a server, by the path of the request. */
export type Handlers = ReadonlyMap<string, UniversalHandlerFn>;

/** Both ends of a call. `fail` makes the error of a lost connection, with the classes of the caller's program. */
export interface CallRoute {
  network: Network;
  client: Machine;
  server: Machine;
  /** The handlers of the process that runs on the server when the request arrives; undefined if none listens. */
  handlers: () => Handlers | undefined;
  fail: (reason: string) => Error;
}

/** Makes one HTTP request from a machine to another. Each chunk of a body is one message of the network. */
export function requestOverNetwork(
  route: CallRoute,
  request: UniversalClientRequest,
): Promise<UniversalClientResponse> {
  return new HttpCall(route, request).response;
}

class HttpCall {
  readonly response: Promise<UniversalClientResponse>;
  readonly #route: CallRoute;
  readonly #clientProcess: number;
  readonly #request: UniversalClientRequest;
  readonly #up: Channel = { lastMs: 0 };
  readonly #down: Channel = { lastMs: 0 };
  readonly #requestBody = new Body();
  readonly #responseBody = new Body();
  readonly #serverSignal = new AbortController();
  readonly #stopWaiting: () => void;
  /** The process that has taken the call. */
  #serverProcess = 0;
  #settle: { resolve(response: UniversalClientResponse): void; reject(reason: unknown): void } | undefined;
  #isOver = false;

  constructor(route: CallRoute, request: UniversalClientRequest) {
    this.#route = route;
    this.#request = request;
    this.#clientProcess = route.client.process;
    this.response = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#stopWaiting = route.network.onBreak(route.client, route.server, (reason) => {
      this.#atClient(() => this.#fail(route.fail(reason)));
      this.#abortServer(route.fail(reason));
    });
    const { server } = route;
    route.network.send(route.client, server, this.#up, () => this.#arrive(server.process));
    void this.#sendRequestBody();
    const { signal } = request;
    if (signal?.aborted) this.#cancel(signal.reason);
    else signal?.addEventListener("abort", () => this.#cancel(signal.reason), { once: true });
  }

  #cancel(reason: unknown): void {
    this.#fail(reason);
    this.#toServer(() => this.#abortServer(this.#route.fail("the client has canceled the call")));
  }

  /** Starts the handler in the process that runs on the server now, or refuses the connection. */
  #arrive(process: number): void {
    const { server, handlers, fail } = this.#route;
    const handler = handlers()?.get(new URL(this.#request.url).pathname);
    this.#serverProcess = process;
    if (handler) server.run(process, () => void this.#answer(handler, process));
    else this.#toClient(() => this.#fail(fail("connection refused")));
  }

  async #answer(handler: UniversalHandlerFn, process: number): Promise<void> {
    const { url, method, header } = this.#request;
    try {
      const { signal } = this.#serverSignal;
      const body = this.#requestBody;
      const answer = await handler({
        httpVersion: "2.0",
        url,
        method,
        header: new Headers(header),
        body,
        signal,
      });
      const { status, body: parts = [] } = answer;
      const responseHeader = new Headers(answer.header);
      this.#fromServer(process, () =>
        this.#settle?.resolve({
          status,
          header: responseHeader,
          body: this.#responseBody,
          trailer: new Headers(answer.trailer),
        }),
      );
      for await (const part of parts) {
        const copy = part.slice();
        this.#fromServer(process, () => this.#responseBody.push(copy));
      }
      this.#fromServer(process, () => this.#finish());
    } catch (error) {
      this.#fromServer(process, () =>
        this.#fail(this.#route.fail(`the server has reset the stream: ${error}`)),
      );
    }
  }

  async #sendRequestBody(): Promise<void> {
    try {
      for await (const part of this.#request.body ?? []) {
        if (this.#isOver) return;
        const copy = part.slice();
        this.#toServer(() => this.#requestBody.push(copy));
      }
      this.#toServer(() => this.#requestBody.end());
    } catch (error) {
      this.#toServer(() => this.#abortServer(error));
    }
  }

  #finish(): void {
    this.#isOver = true;
    this.#stopWaiting();
    this.#responseBody.end();
  }

  #fail(reason: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopWaiting();
    this.#settle?.reject(reason);
    this.#responseBody.fail(reason);
  }

  #abortServer(reason: unknown): void {
    this.#route.server.run(this.#serverProcess, () => {
      this.#requestBody.fail(reason);
      this.#serverSignal.abort(reason);
    });
  }

  /** Sends to the process that has taken the call. The async functions of a killed client go on, but send nothing. */
  #toServer(run: () => void): void {
    const { network, client, server } = this.#route;
    if (this.#clientProcess !== client.process) return;
    network.send(client, server, this.#up, () => server.run(this.#serverProcess, run));
  }

  #toClient(run: () => void): void {
    const { network, client, server } = this.#route;
    network.send(server, client, this.#down, () => this.#atClient(run));
  }

  /** Sends to the client, unless the process that does so was killed. */
  #fromServer(process: number, run: () => void): void {
    if (process === this.#route.server.process) this.#toClient(run);
  }

  #atClient(run: () => void): void {
    this.#route.client.run(this.#clientProcess, run);
  }
}

/** The chunks of a body as they arrive. */
class Body implements AsyncIterable<Uint8Array> {
  readonly #chunks: Uint8Array[] = [];
  #end: { error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(chunk: Uint8Array): void {
    if (this.#end) return;
    this.#chunks.push(chunk);
    this.#wake?.();
  }

  end(): void {
    this.#end ??= {};
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk) yield chunk;
      else if (this.#end) break;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
    if ("error" in this.#end) throw this.#end.error;
  }
}
