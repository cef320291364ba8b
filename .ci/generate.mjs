// `npm run generate`, and the gate: generates gen/ from proto/.
// Runtime is one service in one file, but a page that uses one facade should not load the descriptors of all others. So
// gen/runtime/ has that service again, cut into one file for each facade. src/client/raw-runtime.ts puts the parts
// together, and the compiler checks there that they are the whole service.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const RUNTIME = "spec.proto.runtime.v1.Runtime";
const FACADES = {
  bindings: ["InvokeBinding"],
  configuration: ["GetConfiguration", "SaveConfiguration", "DeleteConfiguration", "SubscribeConfiguration"],
  files: ["GetFile", "PutFile", "ListFile", "DelFile", "GetFileMeta"],
  hello: ["SayHello"],
  lock: ["TryLock", "Unlock", "LockKeepAlive"],
  pubsub: ["PublishEvent", "SubscribeTopicEvents"],
  secrets: ["GetSecret", "GetBulkSecret"],
  sequencer: ["GetNextId"],
  service: ["InvokeService"],
  state: ["GetState", "GetBulkState", "SaveState", "DeleteState", "DeleteBulkState", "ExecuteStateTransaction"],
};

const root = join(import.meta.dirname, "..");
const env = { ...process.env, PATH: [join(root, "node_modules/.bin"), process.env.PATH].join(delimiter) };
const buf = (...args) => execFileSync("buf", args, { cwd: root, env, stdio: "inherit" });

const temporary = mkdtempSync(join(tmpdir(), "fairlead-gen-"));
try {
  const image = join(temporary, "image.binpb");
  buf("generate");
  buf("build", "--output", image);
  mkdirSync(join(root, "gen/runtime"));
  for (const [facade, methods] of Object.entries(FACADES)) generateFacade(facade, methods, image);
} finally {
  rmSync(temporary, { recursive: true });
}

/**
 * Generates `methods` and the messages that they need into gen/runtime/<facade>_pb.ts; the messages of another proto
 * file go to gen/runtime/<facade>_<file>_pb.ts beside it.
 */
function generateFacade(facade, methods, image) {
  const plugin = { local: "protoc-gen-es", out: ".", opt: ["target=ts", "import_extension=js", "erasable_syntax=true"] };
  const template = JSON.stringify({ version: "v2", plugins: [plugin] });
  const types = methods.flatMap((method) => ["--type", `${RUNTIME}.${method}`]);
  buf("generate", image, "--template", template, ...types, "--output", join(temporary, facade));

  const folder = join(temporary, facade, "spec/proto/runtime/v1");
  const renamed = (name) => (name === "runtime" ? facade : `${facade}_${name}`);
  for (const file of readdirSync(folder)) {
    const code = readFileSync(join(folder, file), "utf8");
    const withImports = code.replaceAll(/(?<=from "\.\/)\w+(?=_pb\.js")/g, renamed);
    writeFileSync(join(root, "gen/runtime", `${renamed(file.replace("_pb.ts", ""))}_pb.ts`), withImports);
  }
}
