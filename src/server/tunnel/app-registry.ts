import type { Transport } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Limits } from "../config/config.js";
import { type Engine, PeerFault, type PeerHandler, type PeerMessaging } from "../engine.js";
import { AppRecords, type TopicGroup } from "./app-registry/app-records.js";
import { answerForwarded, forwardingCaller, NotConnectedError } from "./app-registry/forwarded-call.js";
import { PeerDirectory } from "./app-registry/peer-directory.js";

/** Calls one app. */
export type AppCaller = Pick<Transport, "unary">;

/** A connected app: one of this server, or of another one. */
interface ConnectedApp {
  /** The other server that it is connected to; undefined for this one. */
  server: string | undefined;
  caller: AppCaller;
}

interface RegistryOptions {
  engine: Engine;
  limits: Pick<Limits, "apps">;
  closing: AbortSignal;
  log: { error(fields: object, message: string): void };
}

const NO_CALL = new Uint8Array();

/** The name under which each server serves the calls of its own apps. */
const serverName = (id: string): string => `apps/${id}`;

/** The name that all servers serve to which apps of this name are connected. */
const appName = (name: string): string => `app/${name}`;

/**
 * The apps that have dialled in to this server or to another one that uses the same engine, and can be called by the
 * sockets that they opened. A call that another server has forwarded is only answered by an app that is connected here,
 * so no call is forwarded twice.
 */
export class AppRegistry {
  readonly #records: AppRecords;
  readonly #peers: PeerMessaging | undefined;
  readonly #directory: PeerDirectory | undefined;
  /** The apps of each name, in the order in which they take calls. */
  readonly #apps = new Map<string, ConnectedApp[]>();
  /** The names that this server serves for others, and how many of its apps have each. */
  readonly #serving = new Map<string, { apps: number; started: Promise<() => void> }>();

  constructor({ engine, limits, closing, log }: RegistryOptions) {
    const { peers } = engine;
    this.#records = new AppRecords(engine, limits, closing);
    this.#peers = peers;
    if (!peers) return;
    const onCount = (server: string, name: string, count: number) => this.#setCount(server, name, count);
    const own = () => this.#ownApps();
    this.#directory = new PeerDirectory({ peers, closing, own, onCount });
    Promise.all([peers.serve(serverName(peers.id), this.#answer), this.#directory.start()]).catch(
      (error: unknown) => {
        if (!closing.aborted) log.error({ err: error }, "apps of other servers cannot be called");
      },
    );
  }

  /**
   * Adds an app of this server, beside others of its name, and returns a function that removes it. Fails with
   * `resource_exhausted` if too many names are kept, and none of them can be deleted.
   */
  async add(name: string, caller: AppCaller): Promise<() => void> {
    // Served before its record is written: a server that deletes records either finds the app, or a newer record.
    const stopServing = await this.#serve(name);
    try {
      await this.#records.create(name, (other) => this.#isConnected(other));
    } catch (error) {
      stopServing();
      throw error;
    }
    const app: ConnectedApp = { server: undefined, caller };
    this.#apps.set(name, [...(this.#apps.get(name) ?? []), app]);
    this.#announce(name);
    return () => {
      this.#remove(name, (each) => each === app);
      stopServing();
      this.#announce(name);
    };
  }

  /** Stores the groups whose events the app takes: while any of them wait, its name is kept. */
  setGroups(name: string, groups: readonly TopicGroup[]): Promise<void> {
    return this.#records.setGroups(name, groups);
  }

  /**
   * Calls one of the connected apps of that name, each in turn, whichever server they are connected to. Undefined if
   * there is none.
   */
  async call<T>(name: string, run: (caller: AppCaller) => Promise<T>): Promise<{ result: T } | undefined> {
    for (let app = this.#next(name); app; app = this.#next(name)) {
      const { server, caller } = app;
      try {
        return { result: await run(caller) };
      } catch (error) {
        if (!(error instanceof NotConnectedError)) throw error;
        this.#remove(name, (each) => each.server === server);
      }
    }
    if (!this.#peers) return undefined;
    // The app may have connected to another server that has not been heard of yet.
    try {
      return { result: await run(forwardingCaller(this.#peers, appName(name))) };
    } catch (error) {
      if (error instanceof NotConnectedError) return undefined;
      throw error;
    }
  }

  /** Whether an app of that name is connected, or has been. */
  async has(name: string): Promise<boolean> {
    return this.#apps.has(name) || (await this.#records.has(name));
  }

  /** Answers a call that another server has forwarded. An empty one only asks whether this server serves the name. */
  readonly #answer: PeerHandler = async (body, signal) => {
    if (body.length === 0) return body;
    const isOwn = ({ server }: ConnectedApp) => server === undefined;
    return answerForwarded(
      Runtime.method.invokeService,
      body,
      signal,
      ({ id }) => this.#next(id, isOwn)?.caller,
    );
  };

  /** Serves calls of an app of this server for other servers, until the returned function has been called for each. */
  async #serve(name: string): Promise<() => void> {
    if (!this.#peers) return () => {};
    const serving = this.#serving.get(name) ?? {
      apps: 0,
      started: this.#peers.serve(appName(name), this.#answer),
    };
    this.#serving.set(name, serving);
    serving.apps++;
    const stop = () => {
      if (--serving.apps > 0) return;
      this.#serving.delete(name);
      serving.started.then(
        (end) => end(),
        () => {},
      );
    };
    try {
      await serving.started;
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  #announce(name: string): void {
    const own = (this.#apps.get(name) ?? []).filter(({ server }) => server === undefined);
    this.#directory?.announce(name, own.length);
  }

  /** How many apps of each name are connected to this server. */
  #ownApps(): [name: string, count: number][] {
    const counts = [...this.#apps].map(([name, apps]): [string, number] => [
      name,
      apps.filter(({ server }) => server === undefined).length,
    ]);
    return counts.filter(([, count]) => count > 0);
  }

  /** Notes how many apps of that name are connected to another server. */
  #setCount(server: string, name: string, count: number): void {
    const apps = this.#apps.get(name) ?? [];
    const known = apps.filter((app) => app.server === server);
    if (known.length > count) {
      const extra = new Set(known.slice(count));
      this.#remove(name, (app) => extra.has(app));
    } else if (known.length < count && this.#peers) {
      const onLost = () => this.#directory?.forget(server);
      const caller = forwardingCaller(this.#peers, serverName(server), onLost);
      const added = Array.from({ length: count - known.length }, () => ({ server, caller }));
      this.#apps.set(name, [...apps, ...added]);
    }
  }

  /** Whether an app of that name is connected to any server. */
  async #isConnected(name: string): Promise<boolean> {
    if (this.#apps.has(name)) return true;
    if (!this.#peers) return false;
    const asked = this.#peers.request(appName(name), NO_CALL, new AbortController().signal);
    // Only the error that nobody serves the name says that it is connected nowhere.
    return asked.then(
      () => true,
      (error: unknown) => !(error instanceof PeerFault && error.reason === "unserved"),
    );
  }

  /** The app of that name whose turn it is. */
  #next(name: string, isEligible: (app: ConnectedApp) => boolean = () => true): ConnectedApp | undefined {
    const apps = this.#apps.get(name) ?? [];
    const next = apps.find(isEligible);
    if (next) this.#apps.set(name, [...apps.filter((each) => each !== next), next]);
    return next;
  }

  #remove(name: string, isRemoved: (app: ConnectedApp) => boolean): void {
    const remaining = (this.#apps.get(name) ?? []).filter((each) => !isRemoved(each));
    if (remaining.length > 0) this.#apps.set(name, remaining);
    else this.#apps.delete(name);
  }
}
