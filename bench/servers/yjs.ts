import type { AddressInfo } from "node:net";
import { createDecoder, readVarUint } from "lib0/decoding";
import { createEncoder, length, toUint8Array, writeVarUint } from "lib0/encoding";
import { WebSocketServer } from "ws";
import { readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync";
import { Doc } from "yjs";
import { tell } from "./report.js";

/** The number of the sync protocol among the messages of y-websocket. */
const SYNC = 0;

// A server for one document, as y-websocket's own example.
const doc = new Doc();
const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
await new Promise((resolve) => server.once("listening", resolve));
server.on("connection", (socket) => {
  socket.binaryType = "arraybuffer";
  const onUpdate = (update: Uint8Array, origin: unknown) => {
    if (origin === socket) return;
    socket.send(syncMessage((encoder) => writeUpdate(encoder, update)));
  };
  doc.on("update", onUpdate);
  socket.on("close", () => doc.off("update", onUpdate));
  socket.on("message", (data: ArrayBuffer) => {
    const decoder = createDecoder(new Uint8Array(data));
    if (readVarUint(decoder) !== SYNC) return;
    const encoder = createEncoder();
    writeVarUint(encoder, SYNC);
    readSyncMessage(decoder, encoder, doc, socket);
    if (length(encoder) > 1) socket.send(toUint8Array(encoder));
  });
  socket.send(syncMessage((encoder) => writeSyncStep1(encoder, doc)));
});
tell(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);

function syncMessage(write: (encoder: ReturnType<typeof createEncoder>) => void): Uint8Array {
  const encoder = createEncoder();
  writeVarUint(encoder, SYNC);
  write(encoder);
  return toUint8Array(encoder);
}
