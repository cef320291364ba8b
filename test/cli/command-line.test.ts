import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, test, vi } from "vitest";
import { errorText } from "../../src/cli/error-text.js";
import { HELP } from "../../src/cli/help.js";
import { runCommand } from "../../src/cli/run-command.js";

afterEach(() => void vi.restoreAllMocks());

/** Runs a command line, and gives its status and what it wrote. */
async function fairlead(...argv: string[]): Promise<{ status: number; out: string; err: string }> {
  const told = { out: "", err: "" };
  vi.spyOn(process.stdout, "write").mockImplementation((text) => (told.out += String(text)) !== "");
  vi.spyOn(process.stderr, "write").mockImplementation((text) => (told.err += String(text)) !== "");
  try {
    return { status: await runCommand(argv), ...told };
  } finally {
    vi.restoreAllMocks();
  }
}

test.each(["--help", "-h"])("%s prints the options of every command and subcommand", async (flag) => {
  for (const [name, { usage, options = [] }] of Object.entries(HELP)) {
    const { status, out, err } = await fairlead(...name.split(" "), flag);
    assert.deepEqual([status, err], [0, ""], name);
    for (const line of usage) assert.ok(out.includes(line), `${name}: ${line}`);
    for (const [option] of options) assert.ok(out.includes(`  ${option}`), `${name}: ${option}`);
    assert.match(out, /Exit status: 0/);
  }
});

test("help before and behind a command is the same, also among other options", async () => {
  const { out } = await fairlead("serve", "--help");
  assert.equal((await fairlead("help", "serve")).out, out);
  assert.equal((await fairlead("serve", "--port", "1", "--nope", "-h")).out, out);
  assert.notEqual((await fairlead("config", "schema", "--help")).out, (await fairlead("config", "-h")).out);
  const [overview] = await Promise.all([fairlead()]);
  assert.equal((await fairlead("--help")).out, overview.out);
  for (const { usage } of Object.values(HELP)) assert.ok(overview.out.includes(usage[0] ?? "-"));
});

test.each([
  [["srve"], 'unknown command "srve": did you mean serve?'],
  [["chekc", "x"], 'unknown command "chekc": did you mean check?'],
  [["teapot"], 'unknown command "teapot": there are serve, health, backup,'],
  [["constructor"], 'unknown command "constructor"'],
  [["--verison"], 'unknown option "--verison": did you mean --version?'],
  [["help", "confromance"], 'unknown command "confromance": did you mean conformance?'],
  [["config", "shcema"], 'unknown subcommand "shcema": did you mean schema?'],
  [["config"], "config needs a subcommand: check or schema"],
  [["config", "schema", "x"], 'one argument too many: "x"'],
  [["serve", "--prot", "1"], 'unknown option "--prot": did you mean --port?'],
  [["serve", "-p", "1"], 'unknown option "-p": '],
  [["serve", "here"], 'one argument too many: "here"'],
  [["serve", "--port"], "--port needs a value"],
  [["serve", "--port", "--memory"], "--port needs a value"],
  [["serve", "--memory=yes"], '--memory takes no value, got "yes"'],
  [["serve", "--port", "1", "--port", "2"], "--port is given twice"],
  [["serve", "--port", "0x10"], '--port must be a number from 0 to 65535, got "0x10"'],
  [["serve", "--log-level", "inof"], "did you mean info?"],
  [["serve", "--memory", "--data", "x"], "--memory and --data exclude each other"],
  [
    ["serve", "--config", "/no/such.json"],
    'Cannot read the components file "/no/such.json": there is no such file',
  ],
  [["config", "check", "/"], 'Cannot read the components file "/": it is a folder, not a file'],
  [["check"], "usage: fairlead check DIR"],
  [["check", "/no/such"], 'Cannot read the folder "/no/such": there is no such file or folder'],
  [["check", import.meta.filename], "it is a file, not a folder"],
  [["check", join(import.meta.filename, "x")], "a part of the path is a file, not a folder"],
  [["backup", "/no/such", "/tmp/x"], 'Cannot read the folder "/no/such"'],
  [["restore", "/no/such", "/tmp/x"], 'Cannot read the folder "/no/such"'],
  [["tour", "localhost:1"], 'must begin with http:// or https://, got "localhost:1"'],
  [["tour", "http://127.0.0.1:1"], 'no server answers at "http://127.0.0.1:1": nothing listens there'],
  [["tour", "http://127.0.0.1:1,ftp://b"], 'must begin with http:// or https://, got "ftp://b"'],
  [["tour", "http://127.0.0.1:1,http://127.0.0.1:2"], 'no server answers at "http://127.0.0.1:1"'],
] as const)("%j is refused in words, with status 2", async (argv, why) => {
  const { status, out, err } = await fairlead(...argv);
  assert.deepEqual([status, out], [2, ""], err);
  assert.ok(err.startsWith("fairlead: ") && err.includes(why), err);
  assert.doesNotMatch(err, /\bE[A-Z]{4,}\b|\n {4}at |\[unavailable\]/);
});

test("a folder that may not be read, and a port that is taken, are told without an error code", async () => {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  try {
    const { port } = taken.address() as { port: number };
    const busy = await fairlead("serve", "--memory", "--port", String(port));
    assert.deepEqual(
      [busy.status, busy.err],
      [1, `fairlead: port ${port} on 127.0.0.1 is taken: choose another with --port\n`],
    );
    const nowhere = await fairlead("serve", "--memory", "--port", "0", "--host", "203.0.113.1", "--insecure");
    assert.match(
      nowhere.err,
      /^fairlead: Cannot listen on 203\.0\.113\.1, port 0: this machine has no such address\n$/,
    );
    await writeFile(join(folder, "x"), "");
    await chmod(folder, 0);
    const { status, err } = await fairlead("check", folder);
    // Root may read everything: then it is a folder of something else.
    assert.match(err, process.getuid?.() === 0 ? /as a data folder/ : /this process has no right to it/);
    assert.equal(status, process.getuid?.() === 0 ? 1 : 2);
  } finally {
    await chmod(folder, 0o700);
    await rm(folder, { recursive: true });
    taken.close();
  }
});

test("no error code of the operating system, and no stack, reaches the user", () => {
  const error = Object.assign(new Error("EROFS: read-only file system, open '/data/lock'"), {
    code: "EROFS",
    path: "/data/lock",
  });
  assert.equal(errorText(error), '"/data/lock": it is on a file system that is mounted read-only');
  const within = new Error(`Cannot restore from "x": ${error.message}`);
  assert.equal(
    errorText(within),
    'Cannot restore from "x": it is on a file system that is mounted read-only',
  );
  assert.equal(errorText(new Error("EVERYTHING: is fine, really")), "EVERYTHING: is fine, really");
  assert.equal(errorText("thrown text"), "thrown text");
});
