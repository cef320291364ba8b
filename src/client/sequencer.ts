import type { CallOptions, Transport } from "@connectrpc/connect";
import { SequencerOptions_AutoIncrement as Increment, Runtime } from "../../gen/runtime/sequencer_pb.js";
import { checkedName, checkOptions } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { quote } from "../lib/quote.js";
import { repeatable } from "../rpc/repeatable.js";
import { generatedClient } from "./generated-client.js";
import { lazyIterator } from "./lazy.js";

/** How an id is chosen. */
export interface NextOptions extends CallOptions {
  /**
   * "strong": greater than all ids given before, to any client by any server. "weak": unique, and cheaper; it may be
   * less than an id given before. Default: that of the server, which is "weak".
   */
  guarantee?: "strong" | "weak";
}

/** How ids are reserved. The call options apply to each request. */
export interface IdsOptions extends NextOptions {
  /** The number of ids that one request reserves, 1 to 100 000. Default: 1000. */
  block?: number;
}

/** Sequences of unique positive ids, by key. */
export interface Sequencer {
  /**
   * The next id of the sequence `key`. The first one is 1n, unless the server's configuration says more. `GetNextId`
   */
  next(key: string, options?: NextOptions): Promise<bigint>;
  /**
   * Ids of the sequence `key` without end, reserved in blocks when they are needed. Leaving the loop loses the rest of
   * the block. With "strong", each block is greater than all ids reserved before. If the server does not support
   * blocks, each id is one request. `GetNextId`
   */
  ids(key: string, options?: IdsOptions): AsyncIterableIterator<bigint, undefined, undefined>;
}

/**
 * The sequencer store that the server calls `name`. Makes no call by itself.
 *
 * @example
 * ```ts
 * import { createSequencer } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const sequencer = createSequencer(createNodeTransport("http://localhost:34904"), "default");
 * const first = await sequencer.next("example-orders", { guarantee: "strong" });
 * const second = await sequencer.next("example-orders", { guarantee: "strong" });
 * console.log(second > first); // true
 * ```
 */
export function createSequencer(transport: Transport, name: string): Sequencer {
  const client = generatedClient(Runtime, transport);
  const storeName = checkedName("the sequencer store", name);

  const checkCall = (key: string, options: IdsOptions) => {
    const failure = `Cannot take ids of ${quote(key)} from sequencer store ${quote(name)}`;
    checkedName(`${failure}: the key`, key);
    checkOptions(failure, options, { guarantee: ["strong", "weak"] });
    if (options.block !== undefined) checkedCount(failure, "block", options.block, 100_000);
  };

  const nextId = async (
    key: string,
    { guarantee, ...call }: NextOptions,
    metadata: Record<string, string>,
  ): Promise<bigint> => {
    const options = guarantee && { options: { increment: INCREMENT[guarantee] } };
    // May be retried: that loses an id at worst, and a sequence may have gaps.
    const contextValues = repeatable(call.contextValues);
    const request = { storeName, key, metadata, ...options };
    return (await client.getNextId(request, { ...call, contextValues })).nextId;
  };

  return {
    async next(key, options = {}) {
      checkCall(key, options);
      return nextId(key, options, {});
    },
    ids(key, options = {}) {
      checkCall(key, options);
      const { block = 1000, ...call } = options;
      const reserve = (call: NextOptions) => nextId(key, call, { count: String(block) });
      return lazyIterator(({ idBlocks }) => idBlocks(reserve, call));
    },
  };
}

const INCREMENT = { strong: Increment.STRONG, weak: Increment.WEAK } as const;
