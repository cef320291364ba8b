import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** The command that installs the server which the tests are written for. */
export const INSTALL_COMMAND = "go install github.com/nats-io/nats-server/v2@v2.14.10";

/** The folder of `go install`; "" if Go is not installed. */
const goBin = spawnSync("go", ["env", "GOPATH"], { encoding: "utf8" }).stdout?.trim() ?? "";

const runs = (program: string) => spawnSync(program, ["--version"]).error === undefined;

/** The path of nats-server, in PATH or where Go installs it; undefined if it is in neither. */
export const natsServer: string | undefined = [
  "nats-server",
  ...(goBin ? [join(goBin, "bin/nats-server")] : []),
].find(runs);

/**
 * Whether tests can start nats-server. If not, prints that `skipped` is skipped and how to install it. Where Go can
 * install it, CI must have done so: it throws there.
 */
export function hasNatsServer(skipped: string): boolean {
  if (natsServer) return true;
  const how = `install nats-server by ${goBin ? INSTALL_COMMAND : `Go (https://go.dev/dl): ${INSTALL_COMMAND}`}`;
  if (process.env["CI"] && goBin) throw new Error(`Cannot test ${skipped}: ${how}`);
  console.log(`skipped: ${skipped}; ${how}`);
  return false;
}
