// Runs the instructions of the Dockerfile without a container engine, and then the server as a container would run it.
// Each stage is a folder that bubblewrap makes the root. The programs of this machine stand for those of the base images.
// Run by .ci/run, in the root of the repository, as root.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { text } from "node:stream/consumers";

/** The folders of this machine with its programs, their settings and npm's. */
const PROGRAMS = ["bin", "etc", "home", "lib", "lib64", "opt", "root", "sbin", "usr"];

const scratch = mkdtempSync(join(tmpdir(), "fairlead-image-"));
try {
  const image = buildImage(readFileSync("Dockerfile", "utf8"));
  await checkImage(image);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** The instructions of a Dockerfile: each one's word and its arguments, with continued lines joined. */
function instructionsOf(dockerfile) {
  const lines = dockerfile.replaceAll(/^\s*#.*\n/gm, "").replaceAll(/\\\n\s*/g, "");
  return [...lines.matchAll(/^(\w+)\s+(.+)$/gm)].map(([, word, rest]) => ({ word, rest }));
}

/** Runs all instructions. The result is the last stage: its root folder and its settings. */
function buildImage(dockerfile) {
  const stages = new Map();
  let stage;
  for (const { word, rest } of instructionsOf(dockerfile)) {
    if (word === "FROM") {
      const name = / AS (\w+)$/.exec(rest)?.[1] ?? "image";
      stage = { root: join(scratch, name), env: { PATH: process.env.PATH }, workdir: "/", volumes: [] };
      mkdirSync(join(stage.root, "tmp"), { recursive: true });
      stages.set(name, stage);
    } else if (word !== "ARG") {
      console.log(`${word} ${rest}`);
      apply(stage, word, rest, stages);
    }
  }
  return stage;
}

function apply(stage, word, rest, stages) {
  switch (word) {
    case "WORKDIR":
      stage.workdir = rest;
      mkdirSync(join(stage.root, rest), { recursive: true });
      break;
    case "COPY":
      copy(stage, rest, stages);
      break;
    case "RUN":
      execFileSync("bwrap", [...mounts(stage, "--bind"), "/bin/sh", "-c", rest], {
        // npm's registry and cache of this machine are used.
        env: { ...process.env, ...stage.env },
        stdio: "inherit",
      });
      break;
    case "ENV":
      for (const [, name, value] of rest.matchAll(/(\w+)=(\S+)/g)) {
        stage.env[name] = value.replaceAll(/\$(\w+)/g, (_, other) => stage.env[other] ?? "");
      }
      break;
    case "VOLUME":
      stage.volumes.push(rest);
      break;
    case "LABEL":
      break;
    default:
      // USER, EXPOSE, STOPSIGNAL, HEALTHCHECK, ENTRYPOINT and CMD.
      stage[word] = rest;
  }
}

function copy(stage, rest, stages) {
  const from = /^--from=(\w+) /.exec(rest);
  const paths = rest.slice(from?.[0].length ?? 0).split(" ");
  const target = join(stage.root, resolve(stage.workdir, paths.pop()));
  for (const path of paths) {
    const source = from ? join(stages.get(from[1]).root, path) : path;
    const into = statSync(source).isDirectory() ? target : join(target, path);
    mkdirSync(dirname(into), { recursive: true });
    cpSync(source, into, { recursive: true, verbatimSymlinks: true, filter: from ? undefined : isInContext });
  }
}

/** What .dockerignore leaves of the repository: it excludes everything, then names what is included. */
function isInContext(path) {
  const [first, ...included] = readFileSync(".dockerignore", "utf8").match(/^[^#\n].*$/gm);
  assert.equal(first, "*");
  const inside = relative(".", path);
  return inside === "" || included.some((each) => `${inside}/`.startsWith(`${each.slice(1)}/`));
}

/** The options of bwrap: the stage's folder is the root, over which the programs of this machine are mounted. */
function mounts(stage, how) {
  const programs = PROGRAMS.filter((name) => existsSync(`/${name}`));
  const cache = execFileSync("npm", ["config", "get", "cache"], { encoding: "utf8" }).trim();
  const writable = how === "--bind" && existsSync(cache) ? ["--bind", cache, cache] : [];
  // bwrap creates what it mounts over, also if the root is read-only later.
  for (const name of [...programs, "dev", "proc"]) mkdirSync(join(stage.root, name), { recursive: true });
  return [
    ...[how, stage.root, "/"],
    ...programs.flatMap((name) => ["--ro-bind", `/${name}`, `/${name}`]),
    ...writable,
    ...["--dev", "/dev", "--proc", "/proc", "--chdir", stage.workdir, "--die-with-parent"],
  ];
}

/** Starts a command in the image: read-only but for its volumes, as its user, without capabilities, as process 1. */
function startContainer(image, command, env = {}) {
  const [uid, gid] = image.USER.split(":");
  assert.ok(Number(uid) > 0 && Number(gid) > 0, `USER ${image.USER} is not a number above 0`);
  const volumes = image.volumes.flatMap((path) => ["--bind", join(image.root, path), path]);
  const user = ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--no-new-privs", "--bounding-set=-all"];
  const options = [...mounts(image, "--ro-bind"), ...volumes, "--unshare-pid", "--as-pid-1", "--info-fd", "3"];
  const child = spawn("bwrap", [...options, ...user, ...command], {
    env: { ...image.env, ...env },
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  return {
    pid: text(child.stdio[3]).then((info) => JSON.parse(info)["child-pid"]),
    ended: Promise.all([
      new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal))),
      text(child.stdout),
      text(child.stderr),
    ]).then(([status, out, err]) => ({ status, out, err })),
  };
}

async function checkImage(image) {
  const serve = [...JSON.parse(image.ENTRYPOINT), ...JSON.parse(image.CMD)];
  const health = JSON.parse(/\[.*\]$/.exec(image.HEALTHCHECK)[0]);
  const port = String(await freePort());
  const run = (command, env) => startContainer(image, command, { FAIRLEAD_PORT: port, ...env }).ended;

  const open = await run(serve);
  assert.equal(open.status, 1, "it must not start for everyone without being told to");
  assert.match(open.err, /--insecure/);
  const clustered = await run(serve, { FAIRLEAD_JETSTREAM: "nats://127.0.0.1:1", FAIRLEAD_INSECURE: "true" });
  assert.match(clustered.err, /Cannot connect to NATS at nats:\/\/127\.0\.0\.1:1/);
  assert.equal((await run(health)).status, 1, "nothing runs, so the health check must fail");

  const server = startContainer(image, serve, { FAIRLEAD_PORT: port, FAIRLEAD_INSECURE: "true" });
  let checked;
  for (let attempt = 0; attempt < 20 && checked?.status !== 0; attempt++) checked = await run(health);
  assert.deepEqual(checked, { status: 0, out: `http://127.0.0.1:${port} is ready\n`, err: "" });
  const { uid, mode } = statSync(join(image.root, "data/fairlead-data"));
  assert.deepEqual([uid, mode & 0o777], [Number(image.USER.split(":")[0]), 0o700]);
  process.kill(await server.pid, image.STOPSIGNAL);
  const { status, out } = await server.ended;
  console.log(out);
  assert.equal(status, 0);
  assert.match(out, /engine: disk, in fairlead-data/);
  const megabytes = execFileSync("du", ["-sm", join(image.root, "app")], { encoding: "utf8" }).split("\t")[0];
  console.log(`the image runs read-only as ${image.USER}; it adds ${megabytes} MB to its base`);
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
