import { createServer as createHttp } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { type AddressInfo, createServer as createTcp } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { WebSocketServer } from "ws";
import { tell } from "./report.js";

// Not exported by the package; the path is relative to the compiled file.
const built = (name: string) => import(new URL(`../../../dist/src/tunnel/${name}.js`, import.meta.url).href);
const { createDispatcher } = (await built(
  "answer/dispatcher",
)) as typeof import("../../dist/src/tunnel/answer/dispatcher.js");
const { Session } = (await built("session")) as typeof import("../../dist/src/tunnel/session.js");
const { overWs } = (await built(
  "socket/ws-socket",
)) as typeof import("../../dist/src/tunnel/socket/ws-socket.js");

// One bare service over the tunnel and over gRPC, and the same bytes over `ws` alone.
const routes = (router: ConnectRouter) =>
  router.service(Runtime, {
    sayHello: ({ name, data }) => ({ hello: `Hello, ${name}`, ...(data && { data }) }),
    async putFile(messages) {
      for await (const _ of messages);
      return {};
    },
    async *subscribeTopicEvents(messages) {
      // The response to each message has about the same size.
      for await (const _ of messages) yield ANSWER;
    },
  });

const ANSWER = {
  subscribeTopicEventsResponseType: { case: "eventMessage" as const, value: { id: "0123456789" } },
};

const dispatcher = createDispatcher(routes);
const http1 = createHttp();
const sockets = new WebSocketServer({
  server: http1,
  perMessageDeflate: false,
  handleProtocols: (offered) => [...offered][0] ?? false,
});
sockets.on("connection", (socket, { url }) => {
  if (url === "/echo") {
    socket.on("message", (data) => socket.send(data));
  } else if (url === "/sink") {
    // Counts the received bytes; a text message asks for the count.
    let bytes = 0;
    socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) bytes += data.length;
      else socket.send(String(bytes));
    });
  } else {
    const session: InstanceType<typeof Session> = new Session(overWs(socket), {
      isDialler: false,
      answer: dispatcher.on(() => session),
    });
  }
});
const http2 = createHttp2(connectNodeAdapter({ routes }));
const tcp = createTcp((socket) => {
  socket.once("readable", () => {
    const first = socket.read() as Buffer | null;
    if (first === null) return;
    socket.unshift(first);
    (first.toString("latin1", 0, 3) === "PRI" ? http2 : http1).emit("connection", socket);
  });
});
tcp.listen(0, "127.0.0.1", () =>
  tell(`http://127.0.0.1:${(tcp.address() as AddressInfo).port}`, { watched: true }),
);
