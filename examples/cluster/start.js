// Starts the cluster and runs it until Ctrl-C: node start.js [PORT of the load balancer]
import { startCluster } from "./cluster.js";

const [port] = process.argv.slice(2);
if (port !== undefined && !/^\d{1,5}$/.test(port)) {
  throw new Error(`the port of the load balancer must be a number, got ${JSON.stringify(port)}`);
}
const { nodes, servers, balancer, close } = await startCluster(
  port === undefined ? {} : { balancerPort: Number(port) },
);

for (const { url, pid } of nodes) console.log(`NATS node       ${url} (process ${pid})`);
for (const { url, pid } of servers) console.log(`Fairlead server ${url} (process ${pid})`);
console.log(`Load balancer   ${balancer?.url ?? "none: haproxy is not installed"}`);
console.log(
  `\nTry: node count.js ${servers.map(({ url }) => url).join(" ")}, and kill a process. Ctrl-C ends the cluster.`,
);

const signal = await new Promise((resolve) => {
  for (const name of ["SIGINT", "SIGTERM"]) process.once(name, resolve);
});
console.log(`${signal}: the cluster ends`);
await close();
