import type { AddressInfo } from "node:net";
import { createMergeableStore } from "tinybase";
import { createCustomPersister } from "tinybase/persisters";
import { createWsServer } from "tinybase/synchronizers/synchronizer-ws-server";
import { WebSocketServer } from "ws";
import { tell } from "./report.js";

// TinyBase's own server, with a store of its own for each path.
const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
await new Promise((resolve) => server.once("listening", resolve));
createWsServer(
  server as never,
  () =>
    createCustomPersister(
      createMergeableStore(),
      async () => undefined,
      async () => {},
      () => {},
      () => {},
    ) as never,
);
tell(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
