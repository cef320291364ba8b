// Run after every `npm install` that changes package-lock.json: node .ci/mend-lock.mjs
// npm leaves out of the lockfile the builds for other platforms that the registry at hand does not have, and then
// `npm ci` refuses that lockfile everywhere. This puts them in by name and version, for the registries that do.
import { readFileSync, writeFileSync } from "node:fs";

const SYSTEMS = ["android", "darwin", "freebsd", "linux", "openharmony", "win32"];
const CPUS = { aarch64: "arm64", armv7: "arm", arm64: "arm64", arm: "arm", x64: "x64", ia32: "ia32" };

const file = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(file, "utf8"));
for (const [path, { optionalDependencies = {}, dev }] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const place = `node_modules/${name}`;
    if (path === "" || lock.packages[place] || lock.packages[`${path}/${place}`]) continue;
    const words = name.split(/[/-]/);
    const os = SYSTEMS.filter((system) => words.includes(system));
    const cpu = words.flatMap((word) => CPUS[word] ?? []);
    const libc = words.includes("musl") ? { libc: ["musl"] } : {};
    lock.packages[place] = { version, cpu, ...libc, ...(dev && { dev }), optional: true, os };
    console.log(`added ${name} ${version}`);
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
