import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createClient } from "fairlead";
import { Runtime } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport } from "fairlead/node";
import packageJson from "fairlead/package.json" with { type: "json" };
import { createServer, inProcess, VERSION } from "fairlead/server";
import { listen } from "fairlead/server/node";
import { tryFacades } from "./try-facades.js";

const url = process.argv[2];
assert.equal(VERSION, packageJson.version);
assert.equal(Runtime.typeName, "spec.proto.runtime.v1.Runtime");
for (const protocol of ["connect", "grpc", "grpc-web"]) {
  const fl = createClient(createNodeTransport(url, { protocol }));
  await fl.files().put(`notes/${protocol}.txt`, "hello");
  assert.equal(await (await fl.files().get(`notes/${protocol}.txt`)).text(), "hello");
  await fl.close();
}
const here = createClient(inProcess());
await here.log("audit").append([{ who: "ada" }]);
const replica = await here.openGossipMap("members");
await replica.close();
await here.close();
const own = await listen(createServer(), { port: 0 });
assert.equal(await createClient(own.url).hello().say("Ada"), "Hello, Ada");
await own.close();
const schema = JSON.parse(readFileSync(new URL(import.meta.resolve("fairlead/schema.json")), "utf8"));
assert.ok(schema.properties.state);
console.log(JSON.stringify(await tryFacades(url)));
