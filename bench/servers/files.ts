import { createHash } from "node:crypto";
import { createServer, type Engine, memoryEngine } from "fairlead/server";
import { listen, nodePlatform } from "fairlead/server/node";
import { tell } from "./report.js";
import { PIECE, SIZE } from "./transfer.js";

/** A memory engine that counts the bytes of a file, discards them, and generates them for reads. */
function forgetful(): Engine {
  const engine = memoryEngine();
  const info = {
    name: "big",
    size: SIZE,
    sha256: createHash("sha256").digest("hex"),
    modifiedMs: 0,
    metadata: {},
  };
  return {
    ...engine,
    blobs: {
      ...engine.blobs,
      async put(name, content) {
        let size = 0;
        for await (const bytes of content) size += bytes.length;
        return { ...info, name, size };
      },
      async get(name) {
        async function* content() {
          for (let sent = 0; sent < SIZE; sent += PIECE.length) yield PIECE;
        }
        return { info: { ...info, name }, content: content() };
      },
      stat: async (name) => ({ ...info, name }),
    },
  };
}

const { url } = await listen(createServer({ engine: forgetful(), platform: nodePlatform }), { port: 0 });
tell(url, { watched: true });
