import { createServer as createHttp1 } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { type AddressInfo, createServer as createTcp } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { tell } from "./report.js";

// Connect alone, with the same responses as Fairlead.
const answer = connectNodeAdapter({
  routes: (router) =>
    router.service(Runtime, {
      sayHello: ({ name, data }) => ({ hello: `Hello, ${name}`, ...(data && { data }) }),
    }),
});
const http1 = createHttp1(answer);
const http2 = createHttp2(answer);
// One port for HTTP/1.1 and HTTP/2, distinguished by the first bytes: "PRI" is HTTP/2.
const tcp = createTcp((socket) => {
  socket.once("readable", () => {
    const first = socket.read() as Buffer | null;
    if (first === null) return;
    socket.unshift(first);
    (first.toString("latin1", 0, 3) === "PRI" ? http2 : http1).emit("connection", socket);
  });
});
tcp.listen(0, "127.0.0.1", () => tell(`http://127.0.0.1:${(tcp.address() as AddressInfo).port}`));
