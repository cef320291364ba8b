import { connect } from "node:http2";
import { Readable } from "node:stream";
import { createFiles } from "fairlead";
import { createNodeTransport } from "fairlead/node";
import { watchMemory } from "./servers/report.js";
import { PIECE, SIZE } from "./servers/transfer.js";

/** The rate of each direction in bytes per second, and the growth of this process at its peak. */
export interface Transfer {
  up: number;
  down: number;
  peak: number;
}

interface Way {
  put(content: Iterable<Uint8Array>): Promise<number>;
  get(): Promise<AsyncIterable<Uint8Array>>;
}

function* pieces() {
  for (let sent = 0; sent < SIZE; sent += PIECE.length) yield PIECE;
}

function ours(url: string): Way {
  const files = createFiles(createNodeTransport(url), "default");
  return {
    put: async (content) => Number((await files.put("big", Readable.from(content)))?.size),
    async get() {
      const file = await files.get("big");
      if (!file) throw new Error("there is no file");
      return file;
    },
  };
}

function theirs(url: string): Way {
  const session = connect(url);
  return {
    async put(content) {
      const stream = session.request({ ":method": "POST", ":path": "/" });
      Readable.from(content).pipe(stream);
      let answer = "";
      for await (const text of stream.setEncoding("utf8")) answer += text;
      return Number(answer);
    },
    get: async () => session.request({ ":method": "GET", ":path": "/" }),
  };
}

const [kind, url = ""] = process.argv.slice(2);
const way = kind === "ours" ? ours(url) : theirs(url);
const grown = watchMemory();
const perSecond = (begun: number) => (SIZE * 1000) / (performance.now() - begun);
const checked = (size: number) => {
  if (size !== SIZE) throw new Error(`${size} bytes came of ${SIZE}`);
};

const uploading = performance.now();
checked(await way.put(pieces()));
const up = perSecond(uploading);
const downloading = performance.now();
let size = 0;
for await (const bytes of await way.get()) size += bytes.length;
checked(size);
const down = perSecond(downloading);
process.send?.({ up, down, peak: grown() } satisfies Transfer, () => process.exit());
