import type { Setting } from "../case.js";
import { runWeb } from "./web.js";

/** A Cloudflare worker that runs the suite with the setting of a request, and responds with the results. */
export default {
  async fetch(request: Request): Promise<Response> {
    return Response.json(await runWeb((await request.json()) as Setting));
  },
};
