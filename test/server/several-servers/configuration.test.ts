import assert from "node:assert/strict";
import { test } from "vitest";
import { createConfiguration, createHello, createLifecycle } from "../../../src/index.js";
import { openSeveral } from "../../support/several-servers.js";
import { until } from "../../support/until.js";

test("subscribers on all servers end with the items that writers on all servers saved last", async () => {
  await using at = await openSeveral();
  const stores = at.servers.map(({ transport }) =>
    createConfiguration(transport, "default", { appId: "shop" }),
  );
  const open = await Promise.all(stores.map((store) => store.open()));
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      stores.map(async (store, i) => {
        await store.save([
          { key: `own-${i}`, content: `${round}` },
          { key: "shared", content: `${i} ${round}` },
        ]);
        if (round % 3 === i) await store.delete(["shared"]);
      }),
    );
  }
  await stores[0]?.save([{ key: "last", content: "done" }]);
  await until(() => open.every((each) => each.current["last"] === "done"));
  const items = await stores[1]?.get();
  const expected = Object.fromEntries([...(items ?? [])].map(([key, { content }]) => [key, content]));
  for (const each of open) {
    assert.deepEqual({ ...each.current }, expected);
    await each.close();
  }
});

test("a component that changes at run time changes on all servers, and on one that starts later", async () => {
  await using at = await openSeveral();
  const greetings = () => Promise.all(at.servers.map(({ transport }) => createHello(transport).say("Ada")));
  const apply = (i: number, greeting: string) =>
    createLifecycle(at.servers[i]?.transport ?? assert.fail()).apply("hello", "helloworld", { greeting });
  await apply(1, "Ahoy");
  assert.equal((await greetings())[1], "Ahoy, Ada", "at once where it was changed");
  await until(async () => (await greetings()).join() === "Ahoy, Ada,Ahoy, Ada,Ahoy, Ada");
  await at.add();
  await until(async () => (await greetings())[3] === "Ahoy, Ada");
  await Promise.all([apply(0, "Hi"), apply(1, "Hey"), apply(2, "Moin")]);
  await apply(3, "Servus");
  await until(async () => new Set(await greetings()).size === 1);
  assert.equal((await greetings())[0], "Servus, Ada");
});

test("changes on several servers at the same time end the same on all", async () => {
  await using at = await openSeveral();
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      at.servers.map(({ transport }, i) =>
        createLifecycle(transport).apply("hello", "helloworld", { greeting: `${round} ${i}` }),
      ),
    );
  }
  const greetings = () => Promise.all(at.servers.map(({ transport }) => createHello(transport).say("Ada")));
  await until(async () => new Set(await greetings()).size === 1);
  assert.match((await greetings())[0] ?? "", /^9 /);
});

test("a server whose configuration has other settings for a component keeps them", async () => {
  await using at = await openSeveral({ count: 1 });
  const [old] = at.servers;
  await createLifecycle(old?.transport ?? assert.fail()).apply("hello", "helloworld", { greeting: "Ahoy" });
  const young = await at.add({ config: { hello: { helloworld: { greeting: "Welcome" } } } });
  const same = await at.add();
  await until(async () => (await createHello(same.transport).say("Ada")) === "Ahoy, Ada");
  assert.equal(await createHello(young.transport).say("Ada"), "Welcome, Ada");
});
