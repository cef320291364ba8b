import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { type Case, casesOf, type DeclareCase } from "./case.js";
import type { CaseContext } from "./case-context.js";
import { equal } from "./expect.js";
import { expectMalformed, expectUnconfigured } from "./expect-refusal.js";
import { REQUIRED, UNKNOWN } from "./rules.js";

function lifecycleCalls(context: CaseContext) {
  const lifecycle = context.client(Lifecycle);
  const runtime = context.client(Runtime);
  const { name, greeting } = context.stores.hello;
  const apply = (kind: string, component: string, metadata: Record<string, string>) =>
    lifecycle.applyConfiguration({ componentConfig: { kind, name: component, metadata } });
  return { ...context, lifecycle, runtime, name, greeting, apply };
}

type LifecycleCalls = ReturnType<typeof lifecycleCalls>;

/** The cases of ApplyConfiguration. They restore the components that they change. */
export const lifecycleCases: readonly Case[] = casesOf(
  "lifecycle",
  lifecycleCalls,
  [applyCases, refusedKindCases, refusedSettingCases],
  ["lifecycle"],
);

function applyCases(on: DeclareCase<LifecycleCalls>): void {
  on(
    ["ApplyConfiguration", "spare hello"],
    "a greeting is replaced for the next call, under both names of its kind and its setting",
    async (at) => {
      const { name = "", greeting = "" } = at.stores.spareHello ?? {};
      at.after(() => at.apply("hello", name, { greeting }));
      for (const kind of ["hello", "hellos"]) {
        for (const setting of ["greeting", "hello"]) {
          await at.apply(kind, name, { [setting]: `${kind} ${setting}` });
          equal((await at.runtime.sayHello({ serviceName: name })).hello, `${kind} ${setting}`);
          equal((await at.runtime.sayHello({ serviceName: at.name })).hello, at.greeting, "another instance");
        }
      }
    },
  );

  on("ApplyConfiguration", "a greeting may be replaced by itself, by the Go runtime's names", async (at) => {
    await at.apply("hellos", at.name, { hello: at.greeting });
    equal((await at.runtime.sayHello({ serviceName: at.name })).hello, at.greeting);
  });

  on(
    ["ApplyConfiguration", "quick pubsub"],
    "a pubsub takes its settings under both names of its kind",
    async (at) => {
      const { name = "", maxDeliveries, retryMinMs, retryMaxMs } = at.stores.quickPubsub ?? {};
      const settings = Object.fromEntries(
        Object.entries({ maxDeliveries, retryMinMs, retryMaxMs }).map(([key, value]) => [key, String(value)]),
      );
      for (const kind of ["pubsub", "pub_subs"]) await at.apply(kind, name, settings);
    },
  );

  on(["ApplyConfiguration", "short log"], "a log takes its retention", async (at) => {
    const { name = "", maxRecords } = at.stores.shortLog ?? {};
    await at.apply("logs", name, { maxRecords: String(maxRecords) });
  });

  on(["ApplyConfiguration", "echo binding"], "a binding may be given its own type", async (at) => {
    await at.apply("bindings", at.stores.echo ?? "", { type: "echo" });
  });
}

function refusedKindCases(on: DeclareCase<LifecycleCalls>): void {
  on(REQUIRED, "kind, name and metadata are required", async (at) => {
    await expectMalformed(at.lifecycle.applyConfiguration({}), "component_config");
    await expectMalformed(at.apply("", at.name, { hello: "x" }), "component_config.kind");
    await expectMalformed(at.apply("hello", "", { hello: "x" }), "component_config.name");
    await expectMalformed(at.apply("hello", at.name, {}), "component_config.metadata");
  });

  for (const kind of ["nope", "__proto__", "constructor", "Hello"]) {
    on("ApplyConfiguration", `the kind "${kind}" is none, and invalid_argument`, async (at) => {
      await expectMalformed(at.apply(kind, "x", { a: "b" }), "component_config.kind");
    });
  }

  for (const kind of [
    "secrets",
    "secret_store",
    "state",
    "lock",
    "files",
    "file",
    "oss",
    "configuration",
    "config_store",
    "apps",
    "maps",
  ]) {
    on("ApplyConfiguration", `the kind ${kind} cannot change at run time`, async (at) => {
      await expectMalformed(at.apply(kind, "default", { type: "env", allow: "*" }), "component_config.kind");
    });
  }

  on(UNKNOWN, "a component that is not configured is invalid_argument, naming it", async (at) => {
    for (const name of ["nope", "__proto__", "constructor"]) {
      await expectUnconfigured(at.apply("hello", name, { greeting: "x" }), "hello", name);
    }
  });
}

function refusedSettingCases(on: DeclareCase<LifecycleCalls>): void {
  for (const setting of ["greetign", "__proto__"]) {
    on("ApplyConfiguration", `the setting "${setting}" is none, and changes nothing`, async (at) => {
      await expectMalformed(
        at.apply("hello", at.name, { [setting]: "x" }),
        `component_config.metadata["${setting}"]`,
      );
      equal((await at.runtime.sayHello({ serviceName: at.name })).hello, at.greeting);
    });
  }

  for (const value of ["many", "0", "-1", "1.5", ""]) {
    on(["ApplyConfiguration", "quick pubsub"], `maxDeliveries "${value}" is invalid_argument`, async (at) => {
      const call = at.apply("pubsub", at.stores.quickPubsub?.name ?? "", { maxDeliveries: value });
      await expectMalformed(call, 'component_config.metadata["maxDeliveries"]');
    });
  }

  for (const url of ["ftp://x", "not a url", "http://me:pw@x"]) {
    on(["ApplyConfiguration", "mirror"], `a service's url "${url}" is invalid_argument`, async (at) => {
      const call = at.apply("services", at.stores.mirror?.service ?? "", { url });
      await expectMalformed(call, 'component_config.metadata["url"]');
    });
  }

  on(["ApplyConfiguration", "mirror"], "a binding stays what it is", async (at) => {
    const call = at.apply("bindings", at.stores.mirror?.binding ?? "", { type: "echo" });
    await expectMalformed(call, 'component_config.metadata["type"]');
  });

  for (const [setting, value] of [
    ["segment", "2000000"],
    ["biggerThan", "12"],
    ["biggerThan", '{"a":"x"}'],
  ] as const) {
    on("ApplyConfiguration", `a sequencer's ${setting} ${value} is invalid_argument`, async (at) => {
      const call = at.apply("sequencer", at.stores.sequencer, { [setting]: value });
      await expectMalformed(call, `component_config.metadata["${setting}"]`);
    });
  }
}
