import { runForPort } from "./run-for-port.js";

/** Runs the suite in a SharedWorker. */
Object.assign(globalThis, {
  onconnect({ ports: [port] }: MessageEvent) {
    if (port) runForPort(port);
  },
});
