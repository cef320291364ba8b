import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

// A gRPC client in any language can use these files.
const proto = join(dirname(fileURLToPath(import.meta.resolve("fairlead/package.json"))), "proto");
const definition = loadSync("spec/proto/runtime/v1/runtime.proto", { includeDirs: [proto], keepCase: true });
const { Runtime } = loadPackageDefinition(definition).spec.proto.runtime.v1;

const { host } = new URL(process.env.FAIRLEAD_URL ?? "http://localhost:34904");
const runtime = new Runtime(host, credentials.createInsecure());
const call = (method, request) => promisify(runtime[method].bind(runtime))(request);

const { hello } = await call("SayHello", { service_name: "helloworld", name: "Ada" });
console.log(hello);

await call("SaveState", { store_name: "default", states: [{ key: "k", value: Buffer.from("from gRPC") }] });
const { data, etag } = await call("GetState", { store_name: "default", key: "k" });
console.log(`${data} (etag ${etag})`);

// If a condition does not hold, the call fails with ABORTED.
const stale = { key: "k", value: Buffer.from("late"), etag: { value: "1" }, options: { concurrency: 1 } };
const error = await call("SaveState", { store_name: "default", states: [stale] }).catch((error) => error);
console.log(error.details);
runtime.close();
