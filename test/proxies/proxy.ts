import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** A proxy that runs, and where it listens. */
export interface RunningProxy extends AsyncDisposable {
  /** HTTP/1.1, and what else it tells apart on that port. */
  url: string;
  /** The port that it has for HTTP/2 without TLS. */
  http2Url: string;
}

/** A program and the way it is given a configuration. */
interface Program {
  path: string;
  /** The language of its configuration in the documentation. */
  language: string;
  args(file: string, folder: string): string[];
}

export const nginx = (path: string): Program => ({
  path,
  language: "nginx",
  args: (file, folder) => {
    const settings = `daemon off; pid ${folder}/pid; error_log ${folder}/error.log;`;
    return ["-c", file, "-p", folder, "-e", `${folder}/error.log`, "-g", settings];
  },
});

export const caddy = (path: string): Program => ({
  path,
  language: "caddyfile",
  args: (file) => ["run", "--config", file, "--adapter", "caddyfile"],
});

export const haproxy = (path: string): Program => ({
  path,
  language: "haproxy",
  args: (file) => ["-db", "-f", file],
});

/** The configuration in docs/proxies.md. */
export async function documented(language: string): Promise<string> {
  const page = await readFile(join(import.meta.dirname, "../../docs/proxies.md"), "utf8");
  const found = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(page)?.[1];
  if (!found) throw new Error(`docs/proxies.md has no configuration in ${language}`);
  return found;
}

/** Runs `program` in front of the server at `port`, by `text` with the documented ports replaced by free ones. */
export async function run(program: Program, text: string, port: number): Promise<RunningProxy> {
  const [first, second] = [await freePort(), await freePort()];
  const folder = await mkdtemp(join(tmpdir(), "fairlead-proxy-"));
  const file = join(folder, "config");
  const placed = text
    .replaceAll("127.0.0.1:34904", `127.0.0.1:${port}`)
    .replaceAll("8080", `${first}`)
    .replaceAll("8081", `${second}`);
  // What nginx writes of its own it writes here.
  const paths = [
    "access_log off;",
    ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (each) => `${each}_temp_path ${folder}/${each};`,
    ),
  ];
  await writeFile(
    file,
    program.language === "nginx" ? placed.replace("http {", `http { ${paths.join(" ")}`) : placed,
  );
  const child = spawn(program.path, program.args(file, folder), {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (said += bytes));
  const ports = text.includes("8081") ? [first, second] : [first];
  try {
    for (const each of ports) await listening(each, child);
  } catch (error) {
    await ended(child, folder);
    throw new Error(`${program.path} does not start: ${(error as Error).message}\n${said}`);
  }
  return {
    url: `http://127.0.0.1:${first}`,
    http2Url: `http://127.0.0.1:${ports.at(-1)}`,
    [Symbol.asyncDispose]: () => ended(child, folder),
  };
}

async function ended(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 3000);
    await once(child, "exit");
    clearTimeout(late);
  }
  await rm(folder, { recursive: true, force: true });
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null) throw new Error(`it ended with status ${child.exitCode}`);
    const socket = connect(port, "127.0.0.1");
    const isOpen = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await wait(100);
  }
  throw new Error(`it does not listen on port ${port}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
