import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { Duplex } from "node:stream";

/** The ways that a client can open a stream and then read nothing of it. */
export type Way = "Connect over HTTP/2" | "gRPC" | "Connect over HTTP/1.1";

/** What a client takes in before it goes deaf: enough to open a connection, and to see that a stream has begun. */
const HEARS_BYTES = 4096;

/** A call of a client that grants every window there is, sends `message` and never reads on. */
export function callDeaf(
  url: string,
  way: Way,
  path: string,
  message: Uint8Array,
  { halfClose }: { halfClose: boolean } = { halfClose: true },
): { hangUp(): void } {
  const { hostname, port, host } = new URL(url);
  const socket = connectTcp({ host: hostname, port: Number(port) });
  socket.on("error", () => {});
  const body = enveloped(message);
  if (way === "Connect over HTTP/1.1") {
    const lines = Object.entries({ host, "content-length": body.length, ...connectProto });
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    socket.pause();
    socket.write(`POST ${path} HTTP/1.1\r\n${head}\r\n`);
    socket.write(body);
  } else {
    const settings = { initialWindowSize: 2 ** 31 - 1 };
    const session = connectHttp2(url, { createConnection: () => new Deaf(socket), settings });
    session.on("error", () => {});
    session.setLocalWindowSize(2 ** 31 - 1);
    const kind = way === "gRPC" ? grpcProto : connectProto;
    const stream = session.request({ ":method": "POST", ":path": path, ...kind });
    stream.on("error", () => {});
    stream.write(body);
    if (halfClose) stream.end();
  }
  return { hangUp: () => socket.destroy() };
}

const connectProto = { "content-type": "application/connect+proto", "connect-protocol-version": "1" };
const grpcProto = { "content-type": "application/grpc+proto", te: "trailers" };

function enveloped(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** A connection that can be written to, and is read from no more once it has heard enough. */
class Deaf extends Duplex {
  readonly #socket: Socket;
  #heard = 0;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on("data", (data: Buffer) => {
      this.#heard += data.length;
      this.push(data);
      if (this.#heard > HEARS_BYTES) socket.pause();
    });
    socket.once("close", () => this.destroy());
  }

  override _read(): void {}

  override _write(data: Buffer, _: string, done: (error?: Error | null) => void): void {
    this.#socket.write(data, done);
  }
}
