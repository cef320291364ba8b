import { once } from "node:events";
import type { Readable } from "node:stream";
import type { Launch } from "./browser.js";
import { start } from "./child.js";

/** The display that the next screen is: two that look for a free one at a time may find the same. */
let next = 1000 + (process.pid % 30_000);

/** WebKitGTK's own browser, on a screen of its own that nobody sees. */
export const inWebkit =
  (program: string, xvfb: string): Launch =>
  async (url, folder) => {
    const display = `:${next++}`;
    const screen = start(xvfb, [display, "-displayfd", "3", "-screen", "0", "1280x800x24"], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    await Promise.race([once(screen.process.stdio[3] as Readable, "data"), screen.ended]);
    const env = {
      ...process.env,
      DISPLAY: display,
      HOME: folder,
      XDG_RUNTIME_DIR: folder,
      NO_AT_BRIDGE: "1",
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
    };
    const child = start(program, [url], { env });
    const kill = () => {
      child.kill();
      screen.kill();
    };
    return { ...child, kill };
  };
