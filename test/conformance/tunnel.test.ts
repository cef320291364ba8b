import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { testConformanceOver } from "./transports.js";

testConformanceOver((url) => createTunnelTransport(url));
