import { runForPort } from "./run-for-port.js";

/** An ExtendableMessageEvent: the worker stays alive until `task` is done. */
type Extendable = MessageEvent & { waitUntil(task: Promise<unknown>): void };

/** Runs the suite in a service worker. */
addEventListener("message", (event) => {
  const [port] = (event as Extendable).ports;
  if (!port) return;
  (event as Extendable).waitUntil(new Promise<void>((done) => runForPort(port, done)));
});
