import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { describe, test } from "vitest";
import { createNodeTransport } from "../../src/node.js";
import { failure } from "../decisions/failure.js";
import { ca, cert, key } from "../support/certificates.js";
import { Echo, openEcho, type SayImpl } from "./echo-server.js";

/** How a client compresses. */
interface ClientCompression {
  accept: Compression[];
  send: Compression | null;
}

interface Wire {
  name: string;
  isGet?: boolean;
  open(url: string, compression: ClientCompression): Transport;
}

const PROTOCOLS = {
  Connect: createConnectTransport,
  gRPC: createGrpcTransport,
  "gRPC-Web": createGrpcWebTransport,
} as const;

/** Connect's own clients, in every combination of protocol, encoding and HTTP version that exists. */
const WIRES: Wire[] = (["Connect", "gRPC", "gRPC-Web"] as const).flatMap((protocol) =>
  (["2", "1.1"] as const)
    .filter((httpVersion) => protocol !== "gRPC" || httpVersion === "2")
    .flatMap((httpVersion) =>
      [true, false].flatMap((useBinaryFormat) =>
        (protocol === "Connect" ? [false, true] : [false]).map((isGet) => ({
          name: `${protocol} ${isGet ? "GET " : ""}${useBinaryFormat ? "binary" : "JSON"} over HTTP/${httpVersion}`,
          isGet,
          open: (baseUrl: string, { accept, send }: ClientCompression) =>
            PROTOCOLS[protocol]({
              baseUrl,
              httpVersion,
              useBinaryFormat,
              useHttpGet: isGet,
              acceptCompression: accept,
              sendCompression: send,
              compressMinBytes: 0,
            } as never),
        })),
      ),
    ),
);

const NO_COMPRESSION: ClientCompression = { accept: [], send: null };

/** `compression`, and how often it was used. */
function counted({ name, compress, decompress }: Compression) {
  const counts = { compressed: 0, decompressed: 0 };
  const compression: Compression = {
    name,
    compress(bytes) {
      counts.compressed++;
      return compress(bytes);
    },
    decompress(bytes, readMaxBytes) {
      counts.decompressed++;
      return decompress(bytes, readMaxBytes);
    },
  };
  return { counts, compression };
}

/** Every character that a text can have trouble with, and one of four bytes. */
const TEXT = 'Ada & "Bob"? 100% ü€😀\n+/=';

for (const { name, isGet = false, open } of WIRES) {
  describe(name, () => {
    const dial = (url: string, compression = NO_COMPRESSION) => {
      const client = createClient(Echo, open(url, compression));
      return isGet ? client.look : client.say;
    };

    test("a result with the headers and trailers that the handler has set", async () => {
      let seen: { header: string | null; protocol: string; method: string; url: string } | undefined;
      const say: SayImpl = (text, context) => {
        seen = {
          header: context.requestHeader.get("x-question"),
          protocol: context.protocolName,
          method: context.requestMethod,
          url: context.url,
        };
        context.responseHeader.append("x-head", "one");
        context.responseHeader.append("x-head", "two");
        context.responseTrailer.append("x-tail", "three");
        context.responseTrailer.append("x-tail", "four");
        return text.toUpperCase();
      };
      await using at = await openEcho({ say });
      let header: Headers | undefined;
      let trailer: Headers | undefined;
      const answer = await dial(at.url)(
        { value: TEXT },
        {
          headers: { "x-question": "why" },
          onHeader: (all) => (header = all),
          onTrailer: (all) => (trailer = all),
        },
      );
      assert.equal(answer.value, TEXT.toUpperCase());
      assert.equal(header?.get("x-head"), "one, two");
      assert.equal(header?.get("x-call"), "1");
      assert.equal(trailer?.get("x-tail"), "three, four");
      assert.equal(seen?.header, "why");
      assert.equal(seen?.protocol, name.split(" ")[0]?.toLowerCase());
      assert.equal(seen?.method, isGet ? "GET" : "POST");
      assert.ok(seen?.url.startsWith(`${at.url}/test.Echo/`), seen?.url);
      assert.deepEqual([at.counts.admitted, at.counts.ends], [1, [0]]);
      assert.deepEqual(at.counts.broken, []);
    });

    test("an error with its text, its details and its metadata", async () => {
      const say: SayImpl = (_text, context) => {
        context.responseHeader.set("x-head", "one");
        context.responseTrailer.set("x-tail", "two");
        const detail = { desc: DurationSchema, value: create(DurationSchema, { seconds: 7n }) };
        throw new ConnectError(TEXT, Code.ResourceExhausted, { "x-meta": "three" }, [detail]);
      };
      await using at = await openEcho({ say });
      const error = await failure(dial(at.url)({ value: "x" }));
      assert.equal(error.code, Code.ResourceExhausted);
      assert.equal(error.rawMessage, TEXT);
      assert.equal(error.findDetails(DurationSchema)[0]?.seconds, 7n);
      for (const [key, value] of [
        ["x-meta", "three"],
        ["x-tail", "two"],
        ["x-head", "one"],
        ["x-call", "1"],
      ] as const)
        assert.ok(error.metadata.get(key) === value, `${key}: ${error.metadata.get(key)}`);
      assert.deepEqual([at.counts.admitted, at.counts.ends], [1, [Code.ResourceExhausted]]);
    });

    for (const each of [compressionGzip, compressionBrotli]) {
      test(`request and response compressed with ${each.name}`, async () => {
        const server = counted(each);
        const client = counted(each);
        await using at = await openEcho({ acceptCompression: [server.compression], compressMinBytes: 0 });
        const compression = { accept: [client.compression], send: client.compression };
        assert.equal((await dial(at.url, compression)({ value: TEXT })).value, TEXT);
        assert.deepEqual(server.counts, { compressed: 1, decompressed: 1 });
        assert.ok(client.counts.decompressed >= 1);
        assert.equal(at.counts.admitted, 1);
        const few = await openEcho({ acceptCompression: [server.compression], compressMinBytes: 1000 });
        await using _ = few;
        assert.equal((await dial(few.url, compression)({ value: TEXT })).value, TEXT);
        assert.deepEqual(server.counts, { compressed: 1, decompressed: 2 });
      });
    }

    test("an empty message, and one of many pieces", async () => {
      await using at = await openEcho();
      const say = dial(at.url);
      assert.equal((await say({})).value, "");
      // The text of a GET is in the URL.
      const large = "0123456789".repeat(isGet ? 1000 : 100_000);
      assert.equal((await say({ value: large })).value, large);
      assert.deepEqual([at.counts.admitted, at.counts.ends], [2, [0, 0]]);
      assert.deepEqual([at.counts.arriving, at.counts.broken], [0, []]);
      assert.equal(at.counts.mostArriving >= large.length, !isGet);
    });

    test("an error that is no ConnectError is internal, and tells nothing", async () => {
      const say: SayImpl = () => {
        throw new Error("a secret");
      };
      await using at = await openEcho({ say });
      const error = await failure(dial(at.url)({ value: "x" }));
      assert.deepEqual([error.code, error.rawMessage], [Code.Internal, "internal error"]);
    });
  });
}

for (const protocol of ["connect", "grpc", "grpc-web"] as const) {
  for (const json of [false, true]) {
    test(`createNodeTransport, ${protocol} ${json ? "JSON" : "binary"}: result, headers, trailers, error, compression`, async () => {
      const detail = { desc: DurationSchema, value: create(DurationSchema, { seconds: 7n }) };
      const say: SayImpl = (text, context) => {
        context.responseHeader.set("x-head", "one");
        context.responseHeader.append("set-cookie", "a=1");
        context.responseHeader.append("set-cookie", "b=2");
        context.responseTrailer.set("x-tail", "two");
        if (text === "fail") throw new ConnectError(TEXT, Code.Aborted, { "x-meta": "three" }, [detail]);
        return text;
      };
      await using at = await openEcho({ say, compressMinBytes: 100 });
      for (const compression of [false, true]) {
        await using transport = createNodeTransport(at.url, { protocol, json, compression });
        const client = createClient(Echo, transport);
        for (const value of ["", TEXT, "0123456789".repeat(50_000)]) {
          let header: Headers | undefined;
          let trailer: Headers | undefined;
          const answer = await client.say(
            { value },
            { onHeader: (all) => (header = all), onTrailer: (all) => (trailer = all) },
          );
          assert.equal(answer.value, value);
          assert.equal(header?.get("x-head"), "one");
          assert.deepEqual(header?.getSetCookie(), ["a=1", "b=2"]);
          assert.equal(trailer?.get("x-tail"), "two");
        }
        const error = await failure(client.say({ value: "fail" }));
        assert.deepEqual([error.code, error.rawMessage], [Code.Aborted, TEXT]);
        assert.equal(error.findDetails(DurationSchema)[0]?.seconds, 7n);
        assert.equal(error.metadata.get("x-meta"), "three");
        assert.equal(error.metadata.get("x-tail"), "two");
      }
      assert.deepEqual(at.counts.ends, [0, 0, 0, Code.Aborted, 0, 0, 0, Code.Aborted]);
    });
  }
}

for (const httpVersion of ["1.1", "2"] as const) {
  test(`TLS, HTTP/${httpVersion}: the handler sees an https URL`, async () => {
    let seen = "";
    const say: SayImpl = (text, { url }) => {
      seen = url;
      return text;
    };
    await using at = await openEcho({ say, tls: { cert, key } });
    await using transport = createNodeTransport(at.url, { httpVersion, ca });
    assert.equal((await createClient(Echo, transport).say({ value: "hi" })).value, "hi");
    assert.equal(seen, `${at.url}/test.Echo/Say`);
    assert.match(seen, /^https:/);
    assert.equal(at.counts.admitted, 1);
  });
}
