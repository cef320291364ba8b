import type { Setting } from "../case.js";
import { runWeb } from "./web.js";

/** Runs the suite with the setting that the page at the other end of `port` sends, and sends the results back. */
export function runForPort(port: MessagePort, done: () => void = () => {}): void {
  port.onmessage = async ({ data }: MessageEvent<Setting>) => {
    await runWeb(data).then(
      (results) => port.postMessage({ results }),
      (error: Error) => port.postMessage({ error: `${error.message} ${error.stack}` }),
    );
    done();
  };
}
