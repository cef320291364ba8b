import type { Setting } from "../case.js";
import { runWeb } from "./web.js";

/** A Cloudflare worker that answers with what the suite tells, of the setting that it is sent. */
export default {
  async fetch(request: Request): Promise<Response> {
    return Response.json(await runWeb((await request.json()) as Setting));
  },
};
