import { createClient } from "fairlead";
import { createTunnelTransport, serveCallbacks } from "fairlead/node";

const url = process.env.FAIRLEAD_URL ?? "http://localhost:34904";
const fl = createClient(createTunnelTransport(url));
const invoices = fl.state("default");

// The server has the address in its fairlead.json. It asks for the topics, and calls this service with each event.
const served = await serveCallbacks(
  {
    async orders({ data: order, id }) {
      if (!(order.total > 0)) return "drop"; // an order without an amount is not delivered again
      await invoices.set(`invoice-${order.id}`, { total: order.total, event: id }); // after a throw it is delivered again
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
