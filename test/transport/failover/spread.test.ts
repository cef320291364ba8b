import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer as createTcp, type Socket } from "node:net";
import { test } from "vitest";
import { createClient } from "../../../src/index.js";
import { listen, nodePlatform } from "../../../src/server/node.js";
import { createServer } from "../../../src/server/server.js";
import { TRANSPORTS } from "./transports.js";

/** A server behind a TCP proxy that counts its connections, and can go away. */
async function openServer() {
  const server = await listen(createServer({ platform: nodePlatform }), { port: 0 });
  const sockets = new Set<Socket>();
  let connections = 0;
  const proxy = createTcp((socket) => {
    connections++;
    const there = connect(server.port, "127.0.0.1");
    for (const each of [socket, there]) {
      sockets.add(each);
      each.on("error", () => {});
      each.on("close", () => {
        sockets.delete(each);
        socket.destroy();
        there.destroy();
      });
    }
    socket.pipe(there).pipe(socket);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const lose = async () => {
    const closed = new Promise((resolve) => proxy.close(resolve));
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  };
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    connections: () => connections,
    lose,
    close: async () => {
      await lose().catch(() => {});
      await server.close();
    },
  };
}

const CLIENTS = 200;

for (const name of ["Connect over HTTP/2", "the tunnel"]) {
  test(`${name}: the clients of a lost server go to all others, about half to each`, async () => {
    const servers = await Promise.all([openServer(), openServer(), openServer()]);
    const [lost, ...others] = servers;
    const clients = Array.from({ length: CLIENTS }, () =>
      createClient(TRANSPORTS[name]?.(servers.map(({ url }) => url)) ?? ""),
    );
    try {
      await Promise.all(clients.map((fl) => fl.hello().say("x")));
      const first = servers.map(({ connections }) => connections());
      assert.equal(
        first.reduce((a, b) => a + b),
        CLIENTS,
      );
      for (const count of first) assert.ok(count > 40 && count < 95, `${first}`);

      const [lostClients = 0, ...before] = first;
      await lost.lose();
      const answers = await Promise.all(clients.map((fl) => fl.hello().say("y")));
      assert.equal(answers.filter((text) => text === "Hello, y").length, CLIENTS);
      const moved = others.map(({ connections }, i) => connections() - (before[i] ?? 0));
      // Each moved once: those that had another server have stayed with it.
      assert.equal(
        moved.reduce((a, b) => a + b),
        lostClients,
      );
      for (const count of moved) assert.ok(count > lostClients / 4, `${count} of ${lostClients}`);
    } finally {
      await Promise.all(clients.map((fl) => fl.close()));
      await Promise.all(servers.map((server) => server.close()));
    }
  }, 60_000);
}
