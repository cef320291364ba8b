import type { Setting } from "../case.js";
import { report } from "./report.js";
import { runWeb } from "./web.js";

/** A page that runs the suite itself or in a worker, as its URL says, and reports the results to its origin. */
const setting = JSON.parse(decodeURIComponent(location.hash.slice(1))) as Setting & { within: string };

const runners: Record<string, () => Promise<unknown>> = {
  page: () => runWeb(setting),

  SharedWorker() {
    const { port } = new SharedWorker("/shared-worker.js", { type: "module" });
    return runInWorker(port, setting);
  },

  async "service worker"() {
    const registration = await navigator.serviceWorker.register("/service-worker.js");
    await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    registration.active?.postMessage(undefined, [port2]);
    return runInWorker(port1, setting);
  },
};

/** Sends `setting` to the worker at the other end of `port`, and returns its results. */
function runInWorker(port: MessagePort, setting: Setting): Promise<unknown> {
  return new Promise((resolve, reject) => {
    port.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.results));
    port.postMessage(setting);
  });
}

addEventListener(
  "unhandledrejection",
  ({ reason }) => void report({ error: String(reason?.stack ?? reason) }),
);
addEventListener("error", ({ message }) => void report({ error: message }));
const start =
  runners[setting.within] ?? (() => Promise.reject(new Error(`nothing runs within ${setting.within}`)));
start().then(
  (results) => report({ results }),
  (error: Error) => report({ error: `${error.message} ${error.stack}` }),
);
