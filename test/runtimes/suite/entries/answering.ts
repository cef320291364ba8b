import type { Setting } from "../case.js";
import { runWeb } from "./web.js";

/** Runs the suite for the page at the other end of `port`, which sends its setting and is sent what is told. */
export function answerAt(port: MessagePort, done: () => void = () => {}): void {
  port.onmessage = async ({ data }: MessageEvent<Setting>) => {
    await runWeb(data).then(
      (told) => port.postMessage({ told }),
      (error: Error) => port.postMessage({ error: `${error.message} ${error.stack}` }),
    );
    done();
  };
}
