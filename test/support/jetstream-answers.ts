import assert from "node:assert/strict";
import type { PublishOptions } from "@nats-io/transport-node";
import { sleep } from "../../src/rpc/sleep.js";
import type { Stores } from "./jetstream-stores.js";

/** What becomes of one message that asks for an acknowledgement. */
export type Answer =
  /** It is stored, and its acknowledgement is lost. */
  | "lost"
  /** It is lost itself. */
  | "gone"
  /** It does not arrive, and is refused. */
  | { refusal: Refusal }
  /** A former leader refuses it, and the leader gets it: before that, and stores it, or a while after. */
  | { refusal: Refusal; arrives: "before" | "after" };

/** An error of JetStream's. */
export interface Refusal {
  code: number;
  err_code: number;
  description: string;
}

/** How long a message takes that arrives after its refusal. */
const LATE_MS = 100;

/**
 * From now on, the messages of `stores` to subjects that start with `prefix` and ask for an acknowledgement get one of
 * `answers` each, in order. Later ones are not changed. Returns how many answers are left.
 */
export function giveAnswers({ session }: Stores, prefix: string, answers: readonly Answer[]): () => number {
  const { nc } = session;
  const send = nc.publish.bind(nc);
  const remaining = [...answers];
  const store = async (subject: string, data: Uint8Array, options: PublishOptions) => {
    const reply = `_INBOX.${crypto.randomUUID()}`;
    const replies = nc.subscribe(reply, { max: 1 });
    send(subject, data, { ...options, reply });
    for await (const each of replies) assert.ok(each.json<{ seq?: number }>().seq, each.string());
  };
  nc.publish = (subject, data, options) => {
    const { reply } = options ?? {};
    const answer = reply !== undefined && subject.startsWith(prefix) ? remaining.shift() : undefined;
    if (!answer || reply === undefined) {
      send(subject, data, options);
      return;
    }
    const refuse = (error: Refusal) => send(reply, JSON.stringify({ error }));
    const give = async () => {
      const message = [subject, data as Uint8Array, options ?? {}] as const;
      if (answer === "gone") return;
      if (answer === "lost") return await store(...message);
      if (!("arrives" in answer)) return refuse(answer.refusal);
      if (answer.arrives === "before") await store(...message);
      refuse(answer.refusal);
      if (answer.arrives === "before") return;
      await sleep(LATE_MS);
      // Whatever becomes of it then.
      send(subject, data, { ...options, reply: `_INBOX.${crypto.randomUUID()}` });
    };
    void give();
  };
  return () => remaining.length;
}
