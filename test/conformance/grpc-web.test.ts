import { createNodeTransport } from "../../src/transport/node.js";
import { testConformanceOver } from "./transports.js";

testConformanceOver((url) => createNodeTransport(url, { protocol: "grpc-web" }));
