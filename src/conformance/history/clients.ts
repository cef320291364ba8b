import type { Transport } from "@connectrpc/connect";
import { randomFrom } from "../../lib/seeded-random.js";
import type { CaseContext } from "../case-context.js";

/** How many clients work at the same time. */
const CLIENTS = 4;

/** One of several clients, and what its run depends on. */
export interface Client {
  readonly number: number;
  readonly transport: Transport;
  /** A number from 0 to 1. */
  chance(): number;
}

/** Has several clients work on the same at the same time, each `steps` steps, one after the other. */
export async function concurrently(
  bench: CaseContext,
  steps: number,
  step: (client: Client, number: number) => Promise<unknown>,
): Promise<void> {
  const transports = [bench.transport];
  while (transports.length < CLIENTS) transports.push(await bench.second());
  // Another run each time; the history that fails is in the report.
  const seed = Math.floor(Math.random() * 2 ** 32);
  await Promise.all(
    transports.map(async (transport, number) => {
      const client = { number, transport, chance: randomFrom(seed + number) };
      for (let i = 0; i < steps; i++) await step(client, i);
    }),
  );
}

/** One of `choices`. */
export const oneOf = <T>({ chance }: Client, choices: readonly [T, ...T[]]): T =>
  choices[Math.floor(chance() * choices.length)] as T;
