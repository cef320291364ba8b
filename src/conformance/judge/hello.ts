import { Code } from "@connectrpc/connect";
import { failCall, type Scenario } from "./scenario.js";

/** Possible answers to SayHello. */
export const helloScenarios: readonly Scenario[] = [
  {
    id: "hello-text",
    primitive: "hello",
    sentence: "a greeting of any text is returned unchanged",
    rule: "Go runtime: 1 the configured greeting, and the name",
    operation: { call: "hello.say", to: "eva" },
    expected: { value: "greeting, eva" },
    createScript: () => ({ sayHello: ({ name }) => ({ hello: `greeting, ${name}` }) }),
  },
  {
    id: "hello-unknown",
    primitive: "hello",
    sentence: "an unknown greeting, which the Go runtime calls unknown, is a wrong argument",
    rule: "Go runtime: 1 Unknown no instance found",
    operation: { call: "hello.say", to: "eva" },
    expected: { code: "invalid_argument" },
    createScript: () => ({ sayHello: failCall(Code.Unknown, "no instance found") }),
  },
];
