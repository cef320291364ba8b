import { type ChildProcess, spawn } from "node:child_process";

/**
 * Ends what a test has started even if its own process is killed. The reaper is a shell in a session of its own, which
 * outlives this process: its input ends with this process, and then it kills and removes all that is on its list.
 */
const PROGRAM = `
pids=" "; folders=""; mounts=""
while read -r what value; do
  case $what in
    kill) pids="$pids$value " ;;
    ended) pids=\${pids%% "$value" *}" "\${pids#* "$value" } ;;
    remove) folders="$folders $value" ;;
    unmount) mounts="$mounts $value" ;;
  esac
done
[ -z "\${pids# }" ] || kill -9 $pids
for mount in $mounts; do umount -l "$mount"; done
[ -z "$folders" ] || { sleep 0.2; rm -rf $folders; }
`;

let reaper: ChildProcess | undefined;

function tell(line: string): void {
  if (!reaper) {
    reaper = spawn("sh", ["-c", PROGRAM], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
    reaper.unref();
    (reaper.stdin as unknown as { unref(): void }).unref();
  }
  reaper.stdin?.write(`${line}\n`);
}

/** Kills `child` when this process ends, however it ends. */
export function reapProcess<C extends ChildProcess>(child: C): C {
  const { pid } = child;
  if (pid === undefined) return child;
  tell(`kill ${pid}`);
  child.once("exit", () => tell(`ended ${pid}`));
  return child;
}

/** Removes `folder`, which was made for a test and has no spaces in its path, when this process ends. */
export const reapFolder = (folder: string): void => tell(`remove ${folder}`);

/** Unmounts `folder` when this process ends. */
export const reapMount = (folder: string): void => tell(`unmount ${folder}`);
