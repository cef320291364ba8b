import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { type Case, casesOf, type DeclareCase } from "./case.js";
import type { CaseContext } from "./case-context.js";
import { equal } from "./expect.js";
import { expectMalformed, expectUnconfigured, UNKNOWN_NAMES } from "./expect-refusal.js";
import { REQUIRED, UNKNOWN } from "./rules.js";

const helloCalls = (context: CaseContext) => ({
  ...context,
  runtime: context.client(Runtime),
  serviceName: context.stores.hello.name,
  greeting: context.stores.hello.greeting,
});

/** The cases of SayHello. */
export const helloCases: readonly Case[] = casesOf("hello", helloCalls, [greetingCases]);

function greetingCases(on: DeclareCase<ReturnType<typeof helloCalls>>): void {
  for (const name of ["Ada", "Ада 🔑", " "]) {
    on("SayHello", `hello is the greeting and the name "${name}"`, async (at) => {
      const { hello } = await at.runtime.sayHello({ serviceName: at.serviceName, name });
      equal(hello, `${at.greeting}, ${name}`);
    });
  }

  on("SayHello", "without a name hello is the greeting alone", async (at) => {
    equal((await at.runtime.sayHello({ serviceName: at.serviceName })).hello, at.greeting);
  });

  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  const anys: [description: string, data: { typeUrl: string; value: Uint8Array }][] = [
    ["without a type", { typeUrl: "", value: all }],
    ["of a type that no one knows", { typeUrl: "example.com/no.such.Type", value: all }],
    [
      "of a known type",
      { typeUrl: "type.googleapis.com/google.protobuf.BytesValue", value: Uint8Array.of(10, 1, 7) },
    ],
    ["without bytes", { typeUrl: "", value: new Uint8Array() }],
    ["of 100 kB", { typeUrl: "", value: new Uint8Array(100_000).fill(1) }],
  ];
  for (const [description, data] of anys) {
    on("SayHello", `data ${description} is echoed`, async (at) => {
      const { data: echoed } = await at.runtime.sayHello({ serviceName: at.serviceName, data });
      equal({ typeUrl: echoed?.typeUrl, value: echoed?.value }, data);
    });
  }

  on("SayHello", "without data none comes back", async (at) => {
    equal((await at.runtime.sayHello({ serviceName: at.serviceName })).data, undefined);
  });

  on(REQUIRED, "SayHello needs the name of an instance", async (at) => {
    await expectMalformed(at.runtime.sayHello({ serviceName: "" }), "service_name");
  });

  on(UNKNOWN, "an instance that is not configured is invalid_argument, naming it", async (at) => {
    for (const serviceName of UNKNOWN_NAMES) {
      await expectUnconfigured(at.runtime.sayHello({ serviceName }), "hello", serviceName);
    }
  });
}
