import { Code, ConnectError } from "@connectrpc/connect";
import * as R from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Mutant } from "../mutants.js";
import { answered, asked } from "../tamper.js";

const CALLS = R.Runtime.method;

/** Clients that go wrong about settings. */
export const settingsMutants: readonly Mutant[] = [
  {
    name: "is deaf for what a subscription tells",
    tamper: answered(R.SubscribeConfigurationResponseSchema, (message) => void (message.items = [])),
    told: [
      ...["follow-pushed", "follow-changes", "follow-no-items", "follow-several", "follow-deleted-go"],
      ...["follow-deleted", "follow-other-keys", "follow-half-open", "follow-ends-ok", "follow-ends-eof"],
      ...["follow-ends-unavailable", "follow-ends-internal"],
    ],
  },
  {
    name: "never reads the values",
    tamper: answered(R.GetConfigurationResponseSchema, (message) => void (message.items = [])),
    told: ["follow-silent-at-first", "follow-changes", "follow-no-items", "items-missing", "items-empty"],
  },
  {
    name: "takes empty content for a value",
    tamper: answered(R.GetConfigurationResponseSchema, ({ items }) => {
      for (const item of items) item.content ||= " ";
    }),
    told: ["items-empty"],
  },
  {
    name: "takes the first item of each answer",
    tamper: answered(R.SubscribeConfigurationResponseSchema, ({ items }) => void items.splice(1)),
    told: ["follow-several"],
  },
  {
    name: "cannot live with an answer without items",
    tamper: answered(R.SubscribeConfigurationResponseSchema, ({ items }) => {
      if (items.length === 0) throw new ConnectError("items[0] is undefined", Code.Unimplemented);
    }),
    told: ["follow-no-items"],
  },
  {
    name: "takes every item for one of its own",
    tamper: answered(R.SubscribeConfigurationResponseSchema, ({ items }) => {
      for (const item of items) if (item.key === "ab") item.key = "b";
    }),
    told: ["follow-other-keys"],
  },
  {
    name: "ends its requests with the first",
    tamper: (transport) => ({
      ...transport,
      stream(method, signal, timeoutMs, header, input, values) {
        const first = async function* () {
          for await (const message of input) {
            yield message;
            return;
          }
        };
        const ended = method.name === CALLS.subscribeConfiguration.name ? first() : input;
        return transport.stream(method, signal, timeoutMs, header, ended, values);
      },
    }),
    told: ["follow-half-open"],
  },
  {
    name: "takes an empty secret for one",
    tamper: answered(R.GetSecretResponseSchema, (_, headers) => headers.set("fairlead-server", "1")),
    told: ["secret-missing-environment"],
  },
  {
    name: "takes the first part of a secret for all of it",
    tamper: answered(R.GetSecretResponseSchema, (message) => {
      message.data = Object.fromEntries(Object.entries(message.data).slice(0, 1));
    }),
    told: ["secret-parts"],
  },
  {
    name: "calls a service without a verb",
    tamper: asked(R.InvokeServiceRequestSchema, ({ message }) => {
      if (message) message.httpExtension = undefined;
    }),
    told: ["service-answer-go"],
  },
  {
    name: "forgets what it was to send",
    tamper: asked(R.InvokeBindingRequestSchema, (message) => void (message.data = new Uint8Array())),
    told: ["binding-answer"],
  },
];
