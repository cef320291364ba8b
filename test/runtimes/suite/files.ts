import type { Case } from "./case.js";
import { equal, failure } from "./expect.js";

const PIECE = 64 * 1024;
const PIECES = 16;

/** A megabyte in pieces, each of one byte value. */
async function* pieces(upTo = PIECES): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < upTo; i++) yield new Uint8Array(PIECE).fill(i);
}

export const files: Case[] = [
  {
    name: "put() and get() stream a megabyte, with their progress",
    needs: ["streams"],
    async run({ fl, id }) {
      const sent: number[] = [];
      await fl.files().put(id, pieces(), { onProgress: ({ sentBytes }) => void sent.push(sentBytes) });
      equal(sent.at(-1), PIECE * PIECES, "the bytes sent");
      const opened = await fl.files().get(id);
      equal(opened?.info.size, PIECE * PIECES, "its size");
      let at = 0;
      for await (const piece of opened ?? []) {
        for (let i = 0; i < piece.length; i += 4096) {
          equal(piece[i], Math.floor((at + i) / PIECE), `the byte at ${at + i}`);
        }
        at += piece.length;
      }
      equal(at, PIECE * PIECES, "the bytes received");
    },
  },
  {
    name: "get() takes a range, stat(), list() and delete() find it; absent is undefined or false",
    needs: ["streams"],
    async run({ fl, id }) {
      const store = fl.files();
      await store.put(`${id}/a.txt`, "hello", { contentType: "text/plain" });
      await store.put(`${id}/b.bin`, new Blob(["by", "tes"], { type: "application/x" }));
      const part = await store.get(`${id}/a.txt`, { range: { offset: 1, length: 3 } });
      equal(await part?.text(), "ell", "a range");
      equal((await store.stat(`${id}/b.bin`))?.contentType, "application/x", "the media type");
      const names: string[] = [];
      for await (const { name } of store.list(`${id}/`)) names.push(name);
      equal(names.join(), `${id}/a.txt,${id}/b.bin`, "the listing");
      const response = (await store.get(`${id}/a.txt`))?.response();
      equal(response?.headers.get("content-type"), "text/plain", "a Response's media type");
      equal(await response?.text(), "hello", "a Response's body");
      equal(await store.delete(`${id}/a.txt`), true, "deleting it");
      equal(await store.delete(`${id}/a.txt`), false, "deleting it again");
      equal(await store.get(`${id}/a.txt`), undefined, "what is gone");
    },
  },
  {
    name: "an upload whose content fails stores nothing and throws what the content threw",
    needs: ["streams"],
    async run({ fl, id }) {
      const broken = async function* () {
        yield* pieces(4);
        throw new TypeError("the disk is gone");
      };
      const error = await failure(fl.files().put(id, broken()), "an upload that breaks off");
      equal(String(error), "TypeError: the disk is gone", "what it throws");
      equal(await fl.files().stat(id), undefined, "what is stored");
    },
  },
  {
    name: "an upload and a download can be given up",
    needs: ["streams"],
    async run({ fl, id }) {
      const given = new AbortController();
      const endless = async function* () {
        for (;;) {
          yield new Uint8Array(PIECE);
          given.abort();
        }
      };
      await failure(
        fl.files().put(`${id}-up`, endless(), { signal: given.signal }),
        "an upload that is aborted",
      );
      equal(await fl.files().stat(`${id}-up`), undefined, "what is stored");
      await fl.files().put(id, pieces());
      const opened = await fl.files().get(id);
      for await (const piece of opened ?? []) {
        equal(piece.length > 0, true, "the first piece");
        break;
      }
      equal((await fl.files().stat(id))?.size, PIECE * PIECES, "the next call");
    },
  },
];
