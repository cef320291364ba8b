// `npm run generate`, and the gate: makes gen/ of proto/, all of it.
// A page that uses one facade should not carry the descriptors of the others, and all of Runtime is one service in one
// file. So gen/runtime/ holds it once more, cut into one piece for each facade; together they are the whole again, which
// the compiler checks where src/client/raw-runtime.ts puts them together.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const RUNTIME = "spec.proto.runtime.v1.Runtime";
const PIECES = {
  bindings: ["InvokeBinding"],
  configuration: ["GetConfiguration", "SaveConfiguration", "DeleteConfiguration", "SubscribeConfiguration"],
  file: ["GetFile", "PutFile", "ListFile", "DelFile", "GetFileMeta"],
  hello: ["SayHello"],
  invocation: ["InvokeService"],
  lock: ["TryLock", "Unlock", "LockKeepAlive"],
  pubsub: ["PublishEvent", "SubscribeTopicEvents"],
  secrets: ["GetSecret", "GetBulkSecret"],
  sequencer: ["GetNextId"],
  state: ["GetState", "GetBulkState", "SaveState", "DeleteState", "DeleteBulkState", "ExecuteStateTransaction"],
};

const root = join(import.meta.dirname, "..");
const env = { ...process.env, PATH: [join(root, "node_modules/.bin"), process.env.PATH].join(delimiter) };
const buf = (...args) => execFileSync("buf", args, { cwd: root, env, stdio: "inherit" });

const folder = mkdtempSync(join(tmpdir(), "fairlead-gen-"));
try {
  const image = join(folder, "image.binpb");
  const plugin = { local: "protoc-gen-es", out: ".", opt: ["target=ts", "import_extension=js", "erasable_syntax=true"] };
  const template = JSON.stringify({ version: "v2", plugins: [plugin] });
  buf("generate");
  buf("build", "--output", image);
  for (const [piece, methods] of Object.entries(PIECES)) {
    const types = methods.flatMap((method) => ["--type", `${RUNTIME}.${method}`]);
    buf("generate", image, "--template", template, ...types, "--output", `gen/runtime/${piece}`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
