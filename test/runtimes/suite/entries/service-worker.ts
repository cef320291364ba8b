import { answerAt } from "./answering.js";

/** What a service worker's events have besides: it is kept until `task` is done. */
type Extendable = MessageEvent & { waitUntil(task: Promise<unknown>): void };

/** The suite within a service worker. */
addEventListener("message", (event) => {
  const [port] = (event as Extendable).ports;
  if (!port) return;
  (event as Extendable).waitUntil(new Promise<void>((done) => answerAt(port, done)));
});
