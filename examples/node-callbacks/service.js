import { createClient } from "fairlead";
import { createTunnelTransport, serveCallbacks } from "fairlead/node";

const url = process.env.FAIRLEAD_URL ?? "http://localhost:34904";
const fl = createClient(createTunnelTransport(url));
const invoices = fl.state("default");

// The server finds it where its fairlead.json says, asks what it wants, and calls it with each event.
const served = await serveCallbacks(
  {
    async orders({ data: order, id }) {
      if (!(order.total > 0)) return "drop"; // nobody will ever pay it
      await invoices.set(`invoice-${order.id}`, { total: order.total, event: id }); // a throw: it comes again
      console.log(`order ${order.id}: invoice over ${order.total}`);
    },
  },
  { port: Number(process.env.PORT ?? 9999) },
);
console.log(`waiting for orders at ${served.url}`);

process.once("SIGTERM", async () => {
  await served.close();
  await fl.close();
});
