import type { Transport } from "@connectrpc/connect";
import { randomFrom } from "../../lib/seeded-random.js";
import type { CaseContext } from "../case-context.js";

/** The number of concurrent clients. */
const CLIENTS = 4;

/** One of several concurrent clients. */
export interface ConcurrentClient {
  readonly number: number;
  readonly transport: Transport;
  /** The next random number from 0 to 1. */
  chance(): number;
}

/** Runs several clients at the same time. Each takes `steps` steps, one after the other. */
export async function runConcurrently(
  context: CaseContext,
  steps: number,
  step: (client: ConcurrentClient, number: number) => Promise<unknown>,
): Promise<void> {
  const transports = [context.transport];
  while (transports.length < CLIENTS) transports.push(await context.second());
  // Each run is different. The report contains the history that failed.
  const seed = Math.floor(Math.random() * 2 ** 32);
  await Promise.all(
    transports.map(async (transport, number) => {
      const client = { number, transport, chance: randomFrom(seed + number) };
      for (let i = 0; i < steps; i++) await step(client, i);
    }),
  );
}

/** A random one of `choices`. */
export const pickOne = <T>({ chance }: ConcurrentClient, choices: readonly [T, ...T[]]): T =>
  choices[Math.floor(chance() * choices.length)] as T;
