// Counts until Ctrl-C, together with everyone else who does: node count.js URL…
import { count } from "./client.js";

const urls = process.argv.slice(2);
if (urls.length === 0) throw new Error("usage: node count.js URL…, with the URLs that start.js prints");
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
let latest;
const timer = setInterval(() => console.log(latest ?? "no answer yet"), 1000);
const { acknowledged, unknown, longestGapMs } = await count(urls, stop.signal, (value) => {
  latest = value;
});
clearInterval(timer);
console.log(`${acknowledged} increments, ${unknown} unknown, longest gap ${Math.round(longestGapMs)} ms`);
