import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { createClient as fairlead, text } from "../src/index.js";
import { createServer } from "../src/server/index.js";
import { Runtime } from "../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createCaller } from "../src/tunnel/caller.js";
import { createDispatcher } from "../src/tunnel/dispatcher.js";
import { pair } from "../src/tunnel/pair.js";
import { Session } from "../src/tunnel/session.js";

test("smoke", async () => {
  const { ends } = pair();
  const log=(w,s)=>(ev)=>{const k=s({...ev,message:(b)=>{console.log(w,"<-",Buffer.from(b).toString("hex").slice(0,100));ev.message(b)},closed:(c,r)=>{console.log(w,"closed",c,r);ev.closed(c,r)}});return k};
  ends[1]=log("b",ends[1]); ends[0]=log("a",ends[0]);
  const d = createDispatcher((router) => {
    router.service(Runtime, {
      sayHello: (r) => ({ hello: `Hello, ${r.name}` }),
      async *getFile(r) {
        for (let i = 0; i < 100; i++) { console.log("yield", i); yield { data: new Uint8Array(50_000).fill(i) }; }
      },
      async putFile(rs) {
        let n = 0;
        for await (const r of rs) n += r.data.length;
        if (n !== 3_000_000) throw new ConnectError(`got ${n}`, Code.DataLoss);
        return {};
      },
    });
  });
  const b: Session = globalThis.b = new Session(ends[1], { dialled: false, answer: d.on(() => b) });
  const a = new Session(ends[0], { dialled: true, answer: () => {} });
  const client = createClient(Runtime, createCaller(a));
  assert.equal((await client.sayHello({ name: "Ada" })).hello, "Hello, Ada");
  let n = 0;
  for await (const { data } of client.getFile({ storeName: "x", name: "y" })) n += data.length;
  assert.equal(n, 5_000_000);
  await client.putFile((async function* () {
    for (let i = 0; i < 30; i++) yield { data: new Uint8Array(100_000) };
  })());
  await assert.rejects(client.getState({}), { code: Code.Unimplemented });
  assert.equal(a.isIdle, true);
  assert.equal(b.isIdle, true);
  console.log(a.rttMs);
});
