import { withConformance } from "../conformance/index.js";
import { createServer, memoryEngine } from "../server/index.js";
import { type Listening, listen, nodePlatform } from "../server/node.js";
import { type Mirror, openMirror } from "./mirror.js";

/** The reference server on a free port, in memory, with everything that the suite needs. */
export interface ConformanceServer {
  url: string;
  close(): Promise<void>;
}

/** `now`: the clock of its engine, in Unix ms. Default: the system's. */
export async function openConformanceServer(now?: () => number): Promise<ConformanceServer> {
  let mirror: Mirror | undefined;
  let listening: Listening | undefined;
  const close = async () => {
    await listening?.close();
    await mirror?.close();
  };
  try {
    mirror = await openMirror(0);
    const server = createServer({
      platform: nodePlatform,
      config: withConformance({}, mirror.url),
      ...(now && { engine: memoryEngine({ now }) }),
    });
    listening = await listen(server, { port: 0, graceMs: 0 });
    return { url: listening.url, close };
  } catch (error) {
    await close();
    throw error;
  }
}
