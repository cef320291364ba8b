import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { Observation, ScenarioOperation } from "../../src/conformance/index.js";
import { type ClientOptions, createClient } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport } from "../../src/node.js";
import { operate } from "./operate.js";

// What facades load on demand is compiled by the runner for seconds, in which no timer runs: it has to be there before.
import "../../src/client/lazy-chunk.js";

type Listed = { id: string; operation: ScenarioOperation };

/** The ways to the judge. */
export const WAYS = {
  connect: (url: string) => createNodeTransport(url),
  grpc: (url: string) => createNodeTransport(url, { protocol: "grpc" }),
  "grpc-web": (url: string) => createNodeTransport(url, { protocol: "grpc-web" }),
  tunnel: (url: string) => createTunnelTransport(url),
};

/** Lets the judge at `url` judge this SDK by one of the ways: does all that it asks for, and reports what it saw. */
export async function beJudged(url: string, way: keyof typeof WAYS): Promise<void> {
  const scenarios = (await (await fetch(`${url}/scenarios`)).json()) as Listed[];
  const transport = WAYS[way](url);
  const one = async ({ id, operation }: Listed) => {
    const body = JSON.stringify(await seenOf(marked(transport, id), id, operation));
    await fetch(`${url}/scenarios/${id}`, { method: "POST", body });
  };
  // Many wait for something most of the time, but a machine that is too busy renews no locks.
  const left = scenarios.values();
  const worker = async () => {
    for (const scenario of left) await one(scenario);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  await transport.close();
}

/** Says with every call which scenario it is of: a log has no store that would, nor has the question who is there. */
export function marked(transport: Transport, id: string): Transport {
  const withMark = (header: HeadersInit | undefined) => {
    const headers = new Headers(header);
    headers.set("scenario", id);
    return headers;
  };
  return {
    unary: (method, signal, timeoutMs, header, ...rest) =>
      transport.unary(method, signal, timeoutMs, withMark(header), ...rest),
    stream: (method, signal, timeoutMs, header, ...rest) =>
      transport.stream(method, signal, timeoutMs, withMark(header), ...rest),
  };
}

/** Does `operation` over `transport`, and gives what is to be reported of it. */
export async function seenOf(
  transport: Transport,
  id: string,
  operation: ScenarioOperation,
  options: ClientOptions = {},
): Promise<Observation> {
  try {
    return { value: await operate(createClient(transport, options), id, operation) };
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    return { code: Code[code].replace(/(?<=.)[A-Z]/g, "_$&").toLowerCase(), message: rawMessage };
  }
}
