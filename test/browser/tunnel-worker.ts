import { shareTunnels } from "fairlead/tunnel";

shareTunnels();
