import { existsSync } from "node:fs";
import { join, sep } from "node:path";

/**
 * The shell command that adds optional packages beside this copy of fairlead, which may be a dependency of a project, a
 * global installation, or in npx's cache. `command`: the fairlead command to run with them, such as "serve". `file`: a
 * file of this copy; default: this one.
 */
export function installCommand(
  packages: readonly string[],
  command: string,
  file = import.meta.filename,
): string {
  const path = file.split(sep);
  // A package in the current folder would not help: npx runs fairlead from its own cache, with its own packages.
  if (path.includes("_npx")) {
    return `npx -p fairlead ${packages.map((name) => `-p ${name}`).join(" ")} fairlead ${command}`;
  }
  const depth = path.indexOf("node_modules");
  const isGlobal = depth !== -1 && !existsSync(join(path.slice(0, depth).join(sep) || sep, "package.json"));
  return `npm install ${isGlobal ? "--global " : ""}${packages.join(" ")}`;
}
