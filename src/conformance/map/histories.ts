import type { Client as RpcClient } from "@connectrpc/connect";
import { MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { DeclareCase } from "../case.js";
import { AssertionError } from "../expect.js";
import { type ConcurrentClient, pickOne, runConcurrently } from "../history/clients.js";
import { conditionalWrite } from "../history/conditional-write.js";
import { History } from "../history/history.js";
import { checkRegister, type RegisterStep, type StepResult } from "../history/register.js";
import type { MapCalls } from "./calls.js";

const KEYS = ["a", "b"] as const;
const STEPS = 15;

/** The value and version that a get returned. */
interface MapRead extends StepResult {
  readonly version: bigint;
}

export function mapHistoryCases(on: DeclareCase<MapCalls>): void {
  on(
    ["versions", "second client"],
    "what several clients get, put, exchange and remove at once has one order, and a value keeps its version",
    async (at) => {
      const histories = {
        a: new History<RegisterStep, StepResult>(),
        b: new History<RegisterStep, StepResult>(),
      };
      const versions = new Map<string, bigint>();
      await runConcurrently(at, STEPS, async (client, i) => {
        const key = pickOne(client, KEYS);
        await new Actor(at, histories[key], versions, client, key).act(`${client.number}.${i}`);
      });
      for (const key of KEYS) checkRegister(key, histories[key].operations);
    },
  );
}

/** One client that works on one key. */
class Actor {
  readonly #maps: RpcClient<typeof MapService>;
  readonly #place: { header: MapCalls["header"]; key: string };
  readonly #history: History<RegisterStep, StepResult>;
  /** The versions that puts returned, by value. */
  readonly #versions: Map<string, bigint>;
  readonly #client: ConcurrentClient;

  constructor(
    at: MapCalls,
    history: History<RegisterStep, StepResult>,
    versions: Map<string, bigint>,
    client: ConcurrentClient,
    key: string,
  ) {
    this.#maps = at.client(MapService, client.transport);
    this.#place = { header: at.header, key };
    this.#history = history;
    this.#versions = versions;
    this.#client = client;
  }

  /** Runs one random operation. `value` is unique. */
  async act(value: string): Promise<void> {
    const roll = this.#client.chance();
    if (roll < 0.35) {
      await this.#read();
    } else if (roll < 0.6) {
      await this.#call({ do: "write", value }, async () => {
        await this.#put(value, 0n);
        return {};
      });
    } else if (roll < 0.7) {
      await this.#call({ do: "write", value: undefined }, () =>
        this.#maps.remove(this.#place).then(() => ({})),
      );
    } else {
      await this.#exchange(roll > 0.9 ? undefined : value);
    }
  }

  #call<O extends StepResult>(step: RegisterStep, run: () => Promise<O>): Promise<O | undefined> {
    return this.#history.call(this.#client.number, step, run) as Promise<O | undefined>;
  }

  async #read(): Promise<MapRead | undefined> {
    const entry = await this.#call({ do: "read" }, async () => {
      const found = (await this.#maps.get(this.#place)).value;
      return { version: found?.version ?? 0n, value: found && fromUtf8(found.value) };
    });
    const putVersion = entry?.value === undefined ? undefined : this.#versions.get(entry.value);
    if (putVersion !== undefined && putVersion !== entry?.version) {
      throw new AssertionError(
        `${entry?.value} was put with version ${putVersion}, and is read with ${entry?.version}`,
      );
    }
    return entry;
  }

  async #put(value: string, ifVersion: bigint): Promise<void> {
    const { version } = await this.#maps.put({
      ...this.#place,
      value: { value: utf8(value), version: ifVersion },
    });
    if (version <= ifVersion)
      throw new AssertionError(`the put over version ${ifVersion} has the version ${version}`);
    this.#versions.set(value, version);
  }

  async #exchange(value: string | undefined): Promise<void> {
    const entry = await this.#read();
    // Put has no condition for an absent key.
    if (!entry || entry.version === 0n) return;
    const { version, value: expected } = entry;
    await this.#call({ do: "exchange", expected, value }, () =>
      conditionalWrite(
        value === undefined
          ? this.#maps.remove({ ...this.#place, value: { version } })
          : this.#put(value, version),
      ),
    );
  }
}
