import type { CallOptions, Transport } from "@connectrpc/connect";
import { SequencerOptions_AutoIncrement as Increment, Runtime } from "../../gen/runtime/sequencer_pb.js";
import { checkedName, checkOptions } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { quote } from "../lib/quote.js";
import { repeatable } from "../rpc/repeatable.js";
import { generatedClient } from "./generated-client.js";
import { lazyIterator } from "./lazy.js";

/** What an id has to be like. */
export interface NextOptions extends CallOptions {
  /**
   * "strong": greater than every id given before, to any client by any server. "weak": unique, and cheaper; it may
   * be less than an id given before. Default: as the server does, which is "weak".
   */
  guarantee?: "strong" | "weak";
}

/** The call options hold for each request. */
export interface IdsOptions extends NextOptions {
  /** How many ids to reserve with one request, 1 to 100 000. Default: 1000. */
  block?: number;
}

/** Sequences of unique positive ids, by key. */
export interface Sequencer {
  /** The next id of the sequence `key`; a new one begins with 1n unless the server is told otherwise. `GetNextId` */
  next(key: string, options?: NextOptions): Promise<bigint>;
  /**
   * Ids of the sequence `key` without end, in blocks that are reserved when they are needed; leaving the loop loses
   * the rest of the block. With "strong" each block is greater than all ids reserved before it. A server that
   * cannot reserve blocks is asked for each id. `GetNextId`
   */
  ids(key: string, options?: IdsOptions): AsyncIterableIterator<bigint, undefined, undefined>;
}

/** The sequencer store that the server calls `name`. Costs nothing: the first call goes to the server. */
export function createSequencer(transport: Transport, name: string): Sequencer {
  const client = generatedClient(Runtime, transport);
  const storeName = checkedName("the sequencer store", name);

  const begin = (key: string, options: IdsOptions) => {
    const what = `Cannot take ids of ${quote(key)} from sequencer store ${quote(name)}`;
    checkedName(`${what}: the key`, key);
    checkOptions(what, options, { guarantee: ["strong", "weak"] });
    if (options.block !== undefined) checkedCount(what, "block", options.block, 100_000);
  };

  const request = async (
    key: string,
    { guarantee, ...call }: NextOptions,
    metadata: Record<string, string>,
  ): Promise<bigint> => {
    const options = guarantee && { options: { increment: INCREMENT[guarantee] } };
    // Asking twice loses an id at worst, and a sequence may have gaps.
    const contextValues = repeatable(call.contextValues);
    const response = await client.getNextId(
      { storeName, key, metadata, ...options },
      { ...call, contextValues },
    );
    return response.nextId;
  };

  return {
    async next(key, options = {}) {
      begin(key, options);
      return request(key, options, {});
    },
    ids(key, options = {}) {
      begin(key, options);
      const { block = 1000, ...call } = options;
      const reserve = (call: NextOptions) => request(key, call, { count: String(block) });
      return lazyIterator(({ idBlocks }) => idBlocks(reserve, call));
    },
  };
}

const INCREMENT = { strong: Increment.STRONG, weak: Increment.WEAK } as const;
