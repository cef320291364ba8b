import assert from "node:assert/strict";
import { beforeAll, test } from "vitest";
import { buildPrograms, installRunner, program, run } from "./runner.js";

const runner = installRunner();
if (!runner)
  console.log("Connect's conformance runner is skipped: building it takes Go, from https://go.dev/dl");

beforeAll(() =>
  buildPrograms(
    "http-server",
    "http-client",
    "tunnel-server",
    "tunnel-client",
    "gateway-server",
    "gateway-client",
  ),
);

/** Runs the runner, and expects at least as many cases as today: a configuration with fewer cases would test less. */
function conforms(name: string, cases: number, config: string, ...args: string[]): void {
  test.skipIf(!runner)(name, async () => {
    // The runner has deadlines of half a second: with more servers than cores they would be missed.
    const { passed, said } = await run(runner as string, config, "--max-servers", "2", ...args);
    const last = said.slice(-8000);
    assert.ok(passed, last);
    assert.equal(/^Total cases: (\d+)$/m.exec(said)?.[1], `${cases}`, last);
  });
}

const tunnelClient = (...args: string[]) => program("tunnel-client", ...args);
const tunnelServer = (...args: string[]) => program("tunnel-server", ...args);

conforms(
  "a client and a server talk through a tunnel that the client dials",
  152,
  "tunnel.yaml",
  ...["--mode", "both", "--", ...tunnelClient(), "----", ...tunnelServer()],
);

conforms(
  "a client and a server talk through a tunnel that the server dials",
  152,
  "tunnel.yaml",
  ...["--mode", "both", "--", ...tunnelClient("listens"), "----", ...tunnelServer("dials")],
);

conforms(
  "a client that calls the runner's servers through a tunnel and a gateway",
  842,
  "gateway.yaml",
  ...["--mode", "client", "--", ...program("gateway-client")],
);

conforms(
  "a server that the runner's clients call through a gateway and a tunnel",
  546,
  "gateway.yaml",
  ...["--mode", "server", "--", ...program("gateway-server")],
);

// Cases in which our transports return a better code than the `unknown` of the specification: see README.md.
const BY_DECISION = [
  "HTTP to RPC Code Mapping/**/payload-too-large",
  "HTTP to RPC Code Mapping/**/request-header-fields-too-large",
  "HTTP to RPC Code Mapping/**/http-version-not-supported",
];
const NO_STATUS = [
  "gRPC Unexpected Responses/HTTPVersion:2/*/missing-status",
  "gRPC-Web Unexpected Responses/**/trailers-in-body/missing-status",
];
const knownFailing = (...patterns: string[]) => patterns.flatMap((pattern) => ["--known-failing", pattern]);

conforms(
  "createNodeTransport(): Connect, gRPC and gRPC-Web over HTTP/2, Connect and gRPC-Web over HTTP/1.1",
  2364,
  "node-client.yaml",
  ...["--mode", "client", ...knownFailing(...BY_DECISION, ...NO_STATUS), "--", ...program("http-client")],
);

conforms(
  "createWebTransport() and createGrpcWebTransport() over Node's fetch",
  381,
  "fetch-client.yaml",
  ...["--mode", "client", "--", ...program("http-client", "fetch")],
);

conforms(
  "the server's port, with its gates",
  4912,
  "http-server.yaml",
  ...["--mode", "server", "--", ...program("http-server")],
);

// These fail sometimes, see README.md: Node sends the headers of a response and its end in two writes. The runner's HTTP/2
// client has announced the length of its one message, and stops sending when it receives the headers. If it does so before
// the end is sent, the server must reset the stream by the rules of HTTP/2.
const ONE_TOO_LARGE = "Server Message Size/HTTPVersion:2/**/request-exceeds-server-limit";

conforms(
  "the server's port: messages larger than the limit",
  65,
  "http-limits.yaml",
  ...["--mode", "server", "--known-flaky", ONE_TOO_LARGE],
  ...["request", "first-request", "subsequent-request"].flatMap((name) => [
    "--run",
    `Server Message Size/**/${name}-exceeds-server-limit`,
  ]),
  ...["--", ...program("http-server", "bare")],
);
