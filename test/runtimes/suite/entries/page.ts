import type { Setting } from "../case.js";
import { tell } from "./tell.js";
import { runWeb } from "./web.js";

/** A page that runs the suite, or has a worker run it, as its address says, and tells its origin. */
const setting = JSON.parse(decodeURIComponent(location.hash.slice(1))) as Setting & { within: string };

const inside: Record<string, () => Promise<unknown>> = {
  page: () => runWeb(setting),

  SharedWorker() {
    const { port } = new SharedWorker("/shared-worker.js", { type: "module" });
    return answer(port, setting);
  },

  async "service worker"() {
    const registration = await navigator.serviceWorker.register("/service-worker.js");
    await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    registration.active?.postMessage(undefined, [port2]);
    return answer(port1, setting);
  },
};

/** What the other end of `port` answers to `setting`. */
function answer(port: MessagePort, setting: Setting): Promise<unknown> {
  return new Promise((resolve, reject) => {
    port.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.told));
    port.postMessage(setting);
  });
}

addEventListener("unhandledrejection", ({ reason }) => void tell({ error: String(reason?.stack ?? reason) }));
addEventListener("error", ({ message }) => void tell({ error: message }));
const start =
  inside[setting.within] ?? (() => Promise.reject(new Error(`nothing runs within ${setting.within}`)));
start().then(
  (told) => tell({ told }),
  (error: Error) => tell({ error: `${error.message} ${error.stack}` }),
);
