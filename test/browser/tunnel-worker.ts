import { shareTunnels } from "fairlead/web";

shareTunnels();
