import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, test } from "vitest";
import { createClient, type Fairlead } from "../../../src/index.js";
import { sleep } from "../../../src/rpc/sleep.js";
import { createNodeTransport } from "../../../src/transport/node.js";
import { until } from "../../support/until.js";
import { withResolvers } from "../../tunnel/ends.js";
import { buildServerProgram, type ServerProcess, startServer } from "./server-process.js";
import { TRANSPORTS } from "./transports.js";

let removeProgram: () => Promise<void>;
beforeAll(async () => {
  removeProgram = await buildServerProgram();
});
afterAll(() => removeProgram());

/** Nothing listens there. */
const NOWHERE = "http://127.0.0.1:1";

const startServers = (): Promise<ServerProcess[]> =>
  Promise.all([startServer(), startServer(), startServer()]);

async function stopServers(servers: readonly ServerProcess[]): Promise<void> {
  await Promise.all(servers.map((server) => server.kill()));
}

/** Many callers that read until stop(), and note their errors. */
class Load {
  readonly errors: unknown[] = [];
  answers = 0;
  #isStopped = false;
  readonly #ended: Promise<unknown>;

  constructor(fl: Fairlead, callers = 64) {
    this.#ended = Promise.all(Array.from({ length: callers }, () => this.#read(fl)));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#ended;
  }

  /** Waits for `count` answers from now on. */
  async more(count: number): Promise<void> {
    const least = this.answers + count;
    await until(() => this.answers >= least);
  }

  async #read(fl: Fairlead): Promise<void> {
    const state = fl.state();
    while (!this.#isStopped) {
      try {
        await state.get("key");
        this.answers++;
      } catch (error) {
        this.errors.push(error);
        await sleep(5);
      }
    }
  }
}

/** Begins a call that lasts for half a second: a server that drains meanwhile refuses others, and closes after it. */
async function holdOpen(url: string): Promise<{ uploaded: Promise<unknown> }> {
  const fl = createClient(createNodeTransport(url));
  const begun = withResolvers<void>();
  async function* chunks() {
    yield new Uint8Array(1);
    begun.resolve();
    await sleep(500);
  }
  const uploaded = fl.files().put("file", chunks()).finally(fl.close);
  await begun.promise;
  return { uploaded };
}

for (const [name, open] of Object.entries(TRANSPORTS)) {
  describe(name, () => {
    test("a server that is killed under load fails no read: the others answer, also with a wrong URL in the list", async () => {
      const servers = await startServers();
      const fl = createClient(open([NOWHERE, ...servers.map(({ url }) => url)]));
      const load = new Load(fl);
      try {
        await load.more(200);
        for (const server of servers.slice(0, 2)) {
          await server.kill();
          await load.more(200);
        }
        await load.stop();
        assert.deepEqual(load.errors, []);
      } finally {
        await load.stop();
        await fl.close();
        await stopServers(servers);
      }
    }, 60_000);

    // Over HTTP/1.1 a client does not know whether the server has read the write that meets the end of a connection.
    const hasWrites = !/HTTP\/1|fetch/.test(name);
    test(`a server that drains under load fails no read${hasWrites ? " and no write" : ""}`, async () => {
      const servers = await startServers();
      const fl = createClient(open(servers.map(({ url }) => url)));
      const load = new Load(fl, 16);
      let writes = 0;
      let isOver = false;
      // Without a condition a write is not retried: it must not be refused in the first place.
      const writing = Promise.all(
        Array.from({ length: hasWrites ? 4 : 0 }, async () => {
          while (!isOver) {
            await fl.state().set("written", ++writes);
            await sleep(1);
          }
        }),
      );
      try {
        await load.more(100);
        for (const server of servers.slice(0, 2)) {
          const { uploaded } = await holdOpen(server.url);
          await server.drain();
          await uploaded;
          await load.more(100);
        }
        isOver = true;
        await Promise.all([load.stop(), writing]);
        assert.deepEqual(load.errors, []);
        assert.ok(!hasWrites || writes > 50);
      } finally {
        isOver = true;
        await load.stop();
        await writing.catch(() => {});
        await fl.close();
        await stopServers(servers);
      }
    }, 60_000);

    // gRPC and gRPC-Web share the connections of Connect.
    const onConnection = /^gRPC/.test(name) ? () => {} : test;
    onConnection(
      "a server that hangs is left after a while, by calls with a deadline",
      async () => {
        const servers = await startServers();
        const fl = createClient(open(servers.map(({ url }) => url)), { retry: false });
        try {
          // The name of the server in use is that of a key that only it has.
          const state = fl.state<number>();
          await Promise.all(servers.map(({ url }, i) => createClient(url).state().set("server", i)));
          const first = (await state.get("server"))?.value ?? 0;
          servers[first]?.stop();
          const startMs = performance.now();
          let value: number | undefined;
          await until(async () => {
            try {
              value = (await state.get("server", { timeoutMs: 500 }))?.value;
            } catch (error) {
              assert.ok(
                [Code.DeadlineExceeded, Code.Unavailable].includes(ConnectError.from(error).code),
                `${error}`,
              );
            }
            return value !== undefined;
          });
          assert.notEqual(value, first);
          // The health check, or the tunnel's PING, takes 3 to 4 s.
          assert.ok(performance.now() - startMs < 15_000);
        } finally {
          await stopServers(servers);
          await fl.close();
        }
      },
      60_000,
    );

    test("when all servers are gone, the error names each and what it said; one that is back answers again", async () => {
      const servers = await startServers();
      const urls = servers.map(({ url }) => url);
      const fl = createClient(open(urls), { retry: false });
      try {
        await fl.hello().say("x");
        await stopServers(servers);
        // A connection may have been lost before the call, or by it.
        await fl
          .hello()
          .say("x")
          .catch(() => {});
        await assert.rejects(fl.hello().say("x"), (error: ConnectError) => {
          assert.equal(error.code, Code.Unavailable);
          assert.match(error.rawMessage, /^cannot reach any of 3 servers: /);
          for (const url of urls) {
            assert.match(error.rawMessage, new RegExp(`${url}: [^;]*(ECONNREFUSED|ECONNRESET|lost|closed)`));
          }
          return true;
        });
        servers.push(await startServer({ port: servers[1]?.port ?? 0 }));
        const startMs = performance.now();
        await until(async () => {
          try {
            return (await fl.hello().say("y")) === "Hello, y";
          } catch {
            return false;
          }
        });
        // The servers have failed a few times in a row, so the backoff is still short.
        assert.ok(performance.now() - startMs < 5000);
      } finally {
        await fl.close();
        await stopServers(servers);
      }
    }, 60_000);
  });
}
