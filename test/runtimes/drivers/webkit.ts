import type { Readable } from "node:stream";
import type { Launch } from "./browser.js";
import { start } from "./child.js";

/** WebKitGTK's own browser, on a screen of its own that nobody sees. */
export const webkit =
  (program: string, xvfb: string): Launch =>
  async (url, folder) => {
    const screen = start(xvfb, ["-displayfd", "3", "-screen", "0", "1280x800x24"], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    const display = await Promise.race([displayOf(screen.process.stdio[3] as Readable), screen.ended]);
    const env = {
      ...process.env,
      DISPLAY: `:${display}`,
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

/** Which display Xvfb says it is. */
async function displayOf(told: Readable): Promise<string> {
  for await (const chunk of told) return String(chunk).trim();
  throw new Error("Xvfb did not say which display it is");
}
