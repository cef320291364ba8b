import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = import.meta.dirname;
const HOST = "127.0.0.1";
const NUMBERS = [1, 2, 3];

/** How long a process may take to become ready, and to end. */
const READY_MS = 60_000;
const END_MS = 20_000;

/**
 * Starts three NATS nodes, three Fairlead servers and, if HAProxy is installed, a load balancer: each a process of its
 * own, on free ports of this machine. `balancerPort`: the port of the load balancer; default: a free one.
 */
export async function startCluster({ balancerPort } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-cluster-"));
  const processes = [];
  const close = async () => {
    // In this order: servers have calls to finish, for which they need the nodes.
    for (const kind of ["haproxy", "server", "nats"]) {
      await Promise.all(processes.filter((each) => each.kind === kind).map((each) => each.end("SIGTERM")));
    }
    await rm(folder, { recursive: true, force: true });
  };
  const run = (...args) => {
    const started = startProcess(...args);
    processes.push(started);
    return started;
  };
  try {
    const nodes = await startNodes(folder, run);
    const servers = await startServers(nodes, run);
    const balancer = await startBalancer(servers, balancerPort, run);
    return { nodes, servers, balancer, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startNodes(folder, run) {
  const program = findProgram("nats-server", join(goPath(), "bin/nats-server"));
  if (!program) {
    throw new Error(
      "There is no nats-server: go install github.com/nats-io/nats-server/v2@v2.14.10, or https://nats.io/download",
    );
  }
  const ports = await freePorts(9);
  const routes = NUMBERS.map((number) => `"nats://${HOST}:${ports[number + 5]}"`);
  const nodes = NUMBERS.map((number) => {
    const [port, monitorPort, clusterPort] = [ports[number - 1], ports[number + 2], ports[number + 5]];
    const env = {
      NATS_NAME: `n${number}`,
      NATS_LISTEN: `${HOST}:${port}`,
      NATS_MONITOR: `${HOST}:${monitorPort}`,
      NATS_CLUSTER: `${HOST}:${clusterPort}`,
      NATS_ROUTES: `[${routes}]`,
      NATS_DATA: join(folder, `n${number}`),
    };
    const started = run("nats", program, ["-c", join(here, "nats.conf")], env);
    return { ...started, url: `nats://${HOST}:${port}`, healthUrl: `http://${HOST}:${monitorPort}/healthz` };
  });
  await Promise.all(nodes.map((node) => untilOk(node.healthUrl, node)));
  return nodes;
}

async function startServers(nodes, run) {
  const main = fileURLToPath(import.meta.resolve("fairlead/package.json")).replace(
    /package\.json$/,
    "dist/src/cli/main.js",
  );
  const ports = await freePorts(NUMBERS.length);
  const start = (port) => {
    const env = {
      FAIRLEAD_JETSTREAM: nodes.map(({ url }) => url).join(),
      FAIRLEAD_PORT: String(port),
      // The load balancer notices within five seconds.
      FAIRLEAD_DRAIN: "6",
      FAIRLEAD_LOG_LEVEL: "warn",
    };
    const started = run("server", process.execPath, [main, "serve"], env);
    return { ...started, port, url: `http://${HOST}:${port}`, restart: () => restart(port) };
  };
  const restart = async (port) => {
    const server = start(port);
    await untilOk(`${server.url}/readyz`, server);
    return server;
  };
  const servers = ports.map(start);
  await Promise.all(servers.map((server) => untilOk(`${server.url}/readyz`, server)));
  return servers;
}

/** Undefined if HAProxy is not installed. */
async function startBalancer(servers, port, run) {
  const program = findProgram("haproxy", "/usr/sbin/haproxy");
  if (!program) return undefined;
  port ??= (await freePorts(1))[0];
  const [SERVER_1, SERVER_2, SERVER_3] = servers.map((server) => `${HOST}:${server.port}`);
  const env = { BIND: `${HOST}:${port}`, SERVER_1, SERVER_2, SERVER_3 };
  const started = run("haproxy", program, ["-db", "-f", join(here, "haproxy.cfg")], env);
  const url = `http://${HOST}:${port}`;
  await untilOk(`${url}/readyz`, started);
  return { ...started, url };
}

/** A process whose output is kept for the case that it fails. */
function startProcess(kind, program, args, env) {
  // In a process group of its own, so that Ctrl-C reaches only this program, which ends the others in order.
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output = (output + chunk).slice(-4000);
    });
  }
  const ended = new Promise((resolve) => {
    child.once("exit", resolve);
    child.once("error", resolve);
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const end = async (signal) => {
    if (hasEnded()) return;
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), END_MS);
    await ended;
    clearTimeout(timer);
  };
  return { kind, pid: child.pid, end, hasEnded, output: () => output };
}

/** Waits until `url` answers with status 200. */
async function untilOk(url, started) {
  const endsAtMs = Date.now() + READY_MS;
  for (;;) {
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) }).catch(() => undefined);
    await response?.body?.cancel();
    if (response?.status === 200) return;
    if (started.hasEnded() || Date.now() > endsAtMs) {
      throw new Error(`${started.kind} (process ${started.pid}) did not become ready:\n${started.output()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const findProgram = (...candidates) => candidates.find((path) => spawnSync(path, ["-v"]).error === undefined);

/** The folder of `go install`; "" without Go. */
const goPath = () => spawnSync("go", ["env", "GOPATH"], { encoding: "utf8" }).stdout?.trim() ?? "";

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, HOST));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once("listening", resolve))));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
