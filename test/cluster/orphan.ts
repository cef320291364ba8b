/** A process that starts a node, tells the node's folder and waits to be killed. */
import { startNats } from "../support/nats-cluster.js";

const nats = await startNats({ nodes: 1 });
process.send?.({ url: nats.urls[0], folder: nats.folder });
setInterval(() => {}, 60_000);
