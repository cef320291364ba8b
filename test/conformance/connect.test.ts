import { createNodeTransport } from "../../src/transport/node.js";
import { judgedOver } from "./ways.js";

judgedOver((url) => createNodeTransport(url));
