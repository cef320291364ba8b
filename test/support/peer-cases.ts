import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { patternBytes } from "../../src/conformance/test-data.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { EngineFault, PeerFault, type PeerHandler, type PeerMessaging } from "../../src/server/engine.js";
import { until } from "./until.js";

/** Peers of one group, and the functions that close their servers. */
export interface OpenPeers extends AsyncDisposable {
  peers: PeerMessaging[];
  close(peer: PeerMessaging): Promise<void>;
}

const never = new AbortController().signal;

const isFault = (reason: PeerFault["reason"]) => (error: unknown) => {
  assert.ok(error instanceof PeerFault, String(error));
  assert.equal(error.reason, reason, error.message);
  return true;
};

const echo: PeerHandler = async (body) => body;

/** What the peers of every engine do. `open` opens three that are each other's peers. */
export function peerCases(open: () => Promise<OpenPeers>): void {
  const on = (name: string, run: (peers: PeerMessaging[], group: OpenPeers) => Promise<void>) =>
    test(name, async () => {
      await using group = await open();
      await run(group.peers, group);
    });

  on("request() is answered by a server that serves the name, with a body of any size", async ([a, b]) => {
    const name = "apps\0größe.*> 1";
    await b?.serve(name, async (body) => body.toReversed());
    for (const size of [0, 1, 300_000, 5_000_000]) {
      const body = patternBytes(size);
      assert.deepEqual(await a?.request(name, body, never), body.toReversed());
    }
  });

  on(
    "a name that nobody serves is refused before a deadline ends, and so is one that is not served any more",
    async ([a, b]) => {
      // Without a refusal the request would fail with the reason of this signal.
      const deadline = AbortSignal.timeout(5000);
      await assert.rejects(a?.request("none", utf8("x"), deadline) ?? assert.fail(), isFault("unserved"));
      const end = await b?.serve("some", echo);
      assert.equal(fromUtf8((await a?.request("some", utf8("x"), never)) ?? assert.fail()), "x");
      end?.();
      await until(async () => {
        const error = await a?.request("some", utf8("x"), never).catch((error: unknown) => error);
        return error instanceof PeerFault && error.reason === "unserved";
      });
    },
  );

  on("of several servers each request goes to one, and all of them take some", async ([a, b, c]) => {
    const counts: [number, number] = [0, 0];
    for (const [i, server] of [b, c].entries()) {
      await server?.serve("pair", async (body) => {
        counts[i as 0 | 1]++;
        return body;
      });
    }
    for (let i = 0; i < 100; i++) await a?.request("pair", utf8("x"), never);
    assert.equal(counts[0] + counts[1], 100);
    assert.ok(Math.min(...counts) > 10, `${counts}`);
  });

  on("the error of a handler travels with its message", async ([a, b]) => {
    await b?.serve("wrong", async () => {
      throw new TypeError("out of tea ☕");
    });
    const refused = a?.request("wrong", utf8("x"), never) ?? assert.fail();
    await assert.rejects(
      refused,
      (error: unknown) =>
        isFault("failed")(error) && /^out of tea ☕$/.test(String((error as Error).message)),
    );
  });

  on("a requester that gives up gets its reason, and the handler's signal aborts", async ([a, b]) => {
    let aborted = 0;
    await b?.serve("slow", async (body, signal) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      aborted++;
      return body;
    });
    for (const [count, waitMs] of [
      [1, 0],
      [2, 200],
    ] as const) {
      const leave = new AbortController();
      const request = a?.request("slow", utf8("x"), leave.signal) ?? assert.fail();
      const rejected = assert.rejects(request, /no longer wanted/);
      await sleep(waitMs);
      leave.abort(new Error("no longer wanted"));
      await rejected;
      await until(() => aborted === count);
    }
  });

  on("if the server that works on a request closes, the request is lost", async ([a, b], { close }) => {
    let begun = false;
    await b?.serve("slow", async (body, signal) => {
      begun = true;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return body;
    });
    const request = a?.request("slow", utf8("x"), never) ?? assert.fail();
    const rejected = assert.rejects(request, isFault("lost"));
    await until(() => begun);
    await close(b ?? assert.fail());
    await rejected;
    // The nodes of a cluster hear a moment later that nobody serves the name any more. Until then requests are lost.
    await until(async () => {
      const error = await (a?.request("slow", utf8("x"), never) ?? assert.fail()).catch(
        (error: unknown) => error,
      );
      return error instanceof PeerFault && error.reason === "unserved";
    });
  });

  on(
    "if the server of the requester closes, the request fails and the handler's signal aborts",
    async ([a, b], { close }) => {
      let begun = false;
      let aborted = false;
      await b?.serve("slow", async (body, signal) => {
        begun = true;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        aborted = true;
        return body;
      });
      const request = a?.request("slow", utf8("x"), never) ?? assert.fail();
      const rejected = assert.rejects(request, (error: unknown) => {
        return error instanceof EngineFault && error.reason === "unavailable";
      });
      await until(() => begun);
      await close(a ?? assert.fail());
      await rejected;
      await until(() => aborted);
    },
  );

  on(
    "broadcast() reaches all others that subscribe, in order, and not the sender",
    async ([a, b, c], { close }) => {
      const seen: string[][] = [[], [], []];
      const note = (i: number) => (body: Uint8Array) => void seen[i]?.push(`${body.length} ${body[0]}`);
      await a?.subscribe("news", note(0));
      await b?.subscribe("news", note(1));
      const end = await c?.subscribe("news", note(2));
      for (const [i, size] of [1, 3_000_000, 2].entries()) a?.broadcast("news", new Uint8Array(size).fill(i));
      const all = ["1 0", "3000000 1", "2 2"];
      await until(() => seen[1]?.length === 3 && seen[2]?.length === 3);
      assert.deepEqual(seen, [[], all, all]);
      end?.();
      a?.broadcast("news", new Uint8Array(4));
      b?.broadcast("news", new Uint8Array(5));
      await until(() => seen[1]?.length === 4 && seen[0]?.length === 1);
      assert.deepEqual([seen[0], seen[2]?.length], [["5 0"], 3]);
      await close(a ?? assert.fail());
      a?.broadcast("news", new Uint8Array(6));
      assert.equal(seen[1]?.length, 4);
    },
  );

  on("a hundred requests at the same time get their own answers", async ([a, b, c]) => {
    await b?.serve("echo", echo);
    await c?.serve("echo", echo);
    const bodies = Array.from({ length: 100 }, (_, i) => patternBytes(i * 10_000, i));
    const answers = await Promise.all(bodies.map((body) => a?.request("echo", body, never)));
    assert.deepEqual(answers, bodies);
  });
}
