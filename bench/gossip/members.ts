import { setTimeout as sleep } from "node:timers/promises";
import { type GossipMap, openGossipMap } from "fairlead";
import { type InProcessServer, inProcess } from "fairlead/server";
import { Wire } from "./wire.js";

type Value = { name: string; count: number };

export const keyAt = (i: number): string => `user:${i}:name`;

const valueAt = (i: number): Value => ({ name: `user ${i}`, count: i });

export interface Member extends AsyncDisposable {
  wire: Wire;
  map: GossipMap<Value>;
}

/** A server and members of one map, all in this process. */
export class Members implements AsyncDisposable {
  readonly server: InProcessServer;
  readonly #all: Member[] = [];

  constructor() {
    this.server = inProcess({ config: { limits: { gossipEntries: 200_000 } } });
  }

  async join(): Promise<Member> {
    const wire = new Wire(this.server);
    const map = await openGossipMap<Value>(wire.transport, "bench", { timeoutMs: 120_000 });
    const member = { wire, map, [Symbol.asyncDispose]: () => map.close() };
    this.#all.push(member);
    return member;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { wire, map } of this.#all) {
      wire.mend();
      await map.close();
    }
    await this.server.close();
  }
}

/** Writes `count` entries and waits until the server has them. */
export async function fill({ map }: Member, count: number): Promise<void> {
  for (let i = 0; i < count; i++) map.set(keyAt(i), valueAt(i));
  await map.synced({ timeoutMs: 120_000 });
}

export async function until(isMet: () => boolean): Promise<void> {
  while (!isMet()) await sleep(1);
}
