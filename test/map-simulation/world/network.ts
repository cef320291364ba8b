import type { Machine } from "./machine.js";
import type { Scheduler } from "./scheduler.js";

/** Messages of one channel arrive in the order in which they were sent. */
export interface Channel {
  /** The time of the last arrival. */
  lastMs: number;
}

/** The way from one machine to another. */
class Link {
  isCut = false;
  /** How much longer than usual a message takes. */
  extraMs = 0;
  /** The messages that wait until it is whole again, as TCP sends them again. */
  held: (() => void)[] = [];
  readonly breaks = new Set<(reason: string) => void>();
}

/** The network between the machines. Each direction can be cut, and made slow, by itself. */
export class Network {
  readonly #scheduler: Scheduler;
  readonly #links = new Map<string, Link>();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Sends a message: `deliver` runs at `to` when it arrives, if the process that runs there now still does. */
  send(from: Machine, to: Machine, channel: Channel, deliver: () => void): void {
    const link = this.#link(from.name, to.name);
    if (link.isCut) {
      link.held.push(() => this.send(from, to, channel, deliver));
      return;
    }
    const { nowMs } = this.#scheduler;
    const delayMs = this.#scheduler.between(0.2, 2) + link.extraMs * this.#scheduler.random();
    channel.lastMs = Math.max(channel.lastMs, nowMs + delayMs);
    this.#scheduler.after(channel.lastMs - nowMs, () => {
      // Cut while the message was under way.
      if (link.isCut) link.held.push(() => this.send(from, to, channel, deliver));
      else deliver();
    });
  }

  /** Runs `run` if the connections between the machines break. Returns a function that stops waiting for it. */
  onBreak(a: Machine, b: Machine, run: (reason: string) => void): () => void {
    const { breaks } = this.#link(...ordered(a.name, b.name));
    breaks.add(run);
    return () => void breaks.delete(run);
  }

  /** Holds all messages from one machine to the other. */
  cut(from: string, to: string): void {
    this.#link(from, to).isCut = true;
  }

  /** Delivers messages again, and those that were held. */
  heal(from: string, to: string): void {
    const link = this.#link(from, to);
    link.isCut = false;
    link.extraMs = 0;
    for (const send of link.held.splice(0)) send();
  }

  healAll(): void {
    for (const name of this.#links.keys()) {
      const [from = "", to = ""] = name.split(" ");
      this.heal(from, to);
    }
  }

  slow(from: string, to: string, extraMs: number): void {
    this.#link(from, to).extraMs = extraMs;
  }

  /** Ends the open connections between two machines, with the messages that are held. */
  break(a: string, b: string, reason: string): void {
    this.#link(a, b).held = [];
    this.#link(b, a).held = [];
    for (const run of [...this.#link(...ordered(a, b)).breaks]) run(reason);
  }

  #link(from: string, to: string): Link {
    const name = `${from} ${to}`;
    let link = this.#links.get(name);
    if (!link) this.#links.set(name, (link = new Link()));
    return link;
  }
}

const ordered = (a: string, b: string): [string, string] => (a < b ? [a, b] : [b, a]);
