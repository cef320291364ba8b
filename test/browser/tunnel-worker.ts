import { shareTunnels } from "fairlead/web/tunnel";

shareTunnels();
