import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { judgedOver } from "./ways.js";

judgedOver((url) => createTunnelTransport(url));
