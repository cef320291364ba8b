import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { type FrameReceiver, SUBPROTOCOL } from "../../src/tunnel/wire/frame.js";
import { readFrames } from "../../src/tunnel/wire/read-frame.js";

const page = readFileSync(join(import.meta.dirname, "../../docs/tunnel.md"), "utf8");

test("the example in docs/tunnel.md decodes as described, frame by frame", () => {
  const lines = [...page.matchAll(/^(?:dialler|acceptor|) +((?:[0-9a-f]{2} )+) +([A-Z]+)(.*)$/gm)];
  assert.equal(lines.length, 8);
  for (const [, hex = "", kind = "", rest = ""] of lines) {
    const seen: string[] = [];
    const note =
      (name: string) =>
      (...values: unknown[]) => {
        const [id, second] = values;
        if (name === "SETTINGS") assert.deepEqual(id, {});
        else assert.match(`${kind}${rest}`, new RegExp(`stream ${id}\\b`));
        if (name === "CALL" && typeof second === "number")
          assert.match(rest, new RegExp(`method ${second}\\b`));
        if (name === "CALL" && typeof second === "string") assert.ok(rest.includes(`"${second}"`));
        if (name === "MESSAGE") assert.equal(rest.startsWith("+END"), values[2]);
        if (name === "STATUS") assert.deepEqual(second, { code: 5, text: "no", details: [], trailers: [] });
        seen.push(name);
      };
    const receiver = new Proxy({} as FrameReceiver, {
      get: (_, name) => name !== "isClosed" && note(String(name).toUpperCase()),
    });
    readFrames(Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex")), receiver, {
      frameBytes: 262144,
      headerBytes: 16384,
    });
    assert.deepEqual(seen, [kind]);
  }
});

test("docs/tunnel.md names the subprotocol", () => {
  assert.ok(page.includes(`\`${SUBPROTOCOL}\``));
});
