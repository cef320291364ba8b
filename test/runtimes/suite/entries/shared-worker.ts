import { answerAt } from "./answering.js";

/** The suite within a SharedWorker. */
Object.assign(globalThis, {
  onconnect({ ports: [port] }: MessageEvent) {
    if (port) answerAt(port);
  },
});
