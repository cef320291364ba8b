import { runAfter } from "../../../lib/timer.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { PeerMessaging } from "../../engine.js";

/** The name of the broadcasts. */
const TOPIC = "apps";

/** How often each server announces all of its apps, in milliseconds, as an earlier announcement may be lost. */
const ANNOUNCE_MS = 30_000;

/** A server that has announced nothing for this long has gone. */
const SILENT_MS = 4 * ANNOUNCE_MS;

/** The apps of one server. */
interface Announcement {
  server: string;
  /** How many apps of each name are connected to it. */
  apps: [name: string, count: number][];
  /** Whether no other apps are connected to it. */
  isAll: boolean;
  /** Whether it has just begun, and asks all others for theirs. */
  asks?: boolean;
}

export interface DirectoryOptions {
  peers: PeerMessaging;
  closing: AbortSignal;
  /** The apps that are connected to this server. */
  own: () => [name: string, count: number][];
  /** Called when another server has announced how many apps of a name are connected to it. */
  onCount: (server: string, name: string, count: number) => void;
}

/**
 * What the servers tell each other about the apps that are connected to them, so that the calls of an app go to all of
 * its servers in turn. It may be out of date: who relies on it finds out at the server.
 */
export class PeerDirectory {
  readonly #options: DirectoryOptions;
  /** The names of the apps of each other server that has some, and when it has announced them. */
  readonly #servers = new Map<string, { names: Set<string>; atMs: number }>();

  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  /** Begins to follow the other servers. */
  async start(): Promise<void> {
    const { peers, closing } = this.#options;
    const stop = await peers.subscribe(TOPIC, (body) => this.#receive(body));
    if (closing.aborted) return stop();
    closing.addEventListener("abort", () => this.#announce([], true), { once: true });
    this.#announce(this.#options.own(), true, true);
    this.#announceLater();
  }

  /** Tells the others how many apps of this name are connected to this server. */
  announce(name: string, count: number): void {
    if (!this.#options.closing.aborted) this.#announce([[name, count]], false);
  }

  /** Forgets the apps of a server that has not answered, until it announces them again. */
  forget(server: string): void {
    this.#apply({ server, apps: [], isAll: true });
  }

  #announceLater(): void {
    const { own, closing } = this.#options;
    // Not all servers at the same time.
    runAfter(ANNOUNCE_MS * (0.75 + Math.random() / 2), () => {
      if (closing.aborted) return;
      this.#forgetSilent();
      this.#announce(own(), true);
      this.#announceLater();
    });
  }

  #announce(apps: Announcement["apps"], isAll: boolean, asks = false): void {
    const { peers } = this.#options;
    const announcement: Announcement = { server: peers.id, apps, isAll, ...(asks && { asks }) };
    peers.broadcast(TOPIC, utf8(JSON.stringify(announcement)));
  }

  #receive(body: Uint8Array): void {
    if (this.#options.closing.aborted) return;
    const announcement = JSON.parse(fromUtf8(body)) as Announcement;
    this.#apply(announcement);
    if (announcement.asks) this.#announce(this.#options.own(), true);
  }

  /** Forgets the apps of servers that have gone without a word. */
  #forgetSilent(): void {
    const nowMs = performance.now();
    for (const [server, { atMs }] of this.#servers) if (nowMs - atMs > SILENT_MS) this.forget(server);
  }

  #apply({ server, apps, isAll }: Announcement): void {
    const names = this.#servers.get(server)?.names ?? new Set();
    const counts = new Map(apps);
    if (isAll) for (const name of names) if (!counts.has(name)) counts.set(name, 0);
    for (const [name, count] of counts) {
      if (count > 0) names.add(name);
      else names.delete(name);
      this.#options.onCount(server, name, count);
    }
    if (names.size > 0) this.#servers.set(server, { names, atMs: performance.now() });
    else this.#servers.delete(server);
  }
}
