import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { tell } from "./report.js";
import { PIECE, SIZE } from "./transfer.js";

function* pieces() {
  for (let sent = 0; sent < SIZE; sent += PIECE.length) yield PIECE;
}

// Node's own HTTP/2: POST counts the received bytes, GET sends as many.
const server = createServer();
server.on("stream", async (stream, headers) => {
  if (headers[":method"] === "GET") {
    stream.respond({ ":status": 200 });
    Readable.from(pieces()).pipe(stream);
  } else {
    let size = 0;
    for await (const bytes of stream) size += (bytes as Buffer).length;
    stream.respond({ ":status": 200 });
    stream.end(String(size));
  }
});
server.listen(0, "127.0.0.1", () =>
  tell(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { watched: true }),
);
