import { Code, ConnectError } from "@connectrpc/connect";
import type { Operation, Seen } from "../../src/conformance/index.js";
import { createClient, type Fairlead } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport } from "../../src/node.js";
import { operate } from "./operate.js";

type Listed = { id: string; operation: Operation };

/** The ways to the judge. */
export const WAYS = {
  connect: (url: string) => createNodeTransport(url),
  grpc: (url: string) => createNodeTransport(url, { protocol: "grpc" }),
  "grpc-web": (url: string) => createNodeTransport(url, { protocol: "grpc-web" }),
  tunnel: (url: string) => createTunnelTransport(url),
};

/** Lets the judge at `url` judge this SDK by one of the ways: does all that it asks for, and reports what it saw. */
export async function beJudged(url: string, way: keyof typeof WAYS, does: Does = operate): Promise<void> {
  const scenarios = (await (await fetch(`${url}/scenarios`)).json()) as Listed[];
  const transport = WAYS[way](url);
  const one = async ({ id, operation }: Listed) => {
    // The header says which scenario a call is of where no store does: a log has none, nor has the question who is there.
    const marked: typeof transport = {
      ...transport,
      unary: (method, signal, timeoutMs, header, ...rest) =>
        transport.unary(
          method,
          signal,
          timeoutMs,
          { ...Object.fromEntries(new Headers(header)), scenario: id },
          ...rest,
        ),
      stream: (method, signal, timeoutMs, header, ...rest) =>
        transport.stream(
          method,
          signal,
          timeoutMs,
          { ...Object.fromEntries(new Headers(header)), scenario: id },
          ...rest,
        ),
    };
    const seen: Seen = await does(createClient(marked), id, operation).then(
      (value) => ({ value }),
      (error: unknown) => {
        const { code, rawMessage } = ConnectError.from(error);
        return { code: nameOf(code), message: rawMessage };
      },
    );
    await fetch(`${url}/scenarios/${id}`, { method: "POST", body: JSON.stringify(seen) });
  };
  // Many wait for something most of the time, but a machine that is too busy renews no locks.
  const left = scenarios.values();
  const worker = async () => {
    for (const scenario of left) await one(scenario);
  };
  await Promise.all(Array.from({ length: 24 }, worker));
  await transport.close();
}

/** What does an operation, and gives what it saw. */
export type Does = (
  fl: Fairlead,
  store: string,
  operation: Operation,
) => Promise<NonNullable<Seen["value"]> | null>;

const nameOf = (code: Code) => Code[code].replace(/(?<=.)[A-Z]/g, "_$&").toLowerCase();
