import { createClient } from "fairlead";

/** Counts the visits of each page, whichever isolate of whichever place answers. */
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    // A socket belongs to the request that opened it, and so does the client: it costs nothing until its first call.
    const fl = createClient(env.FAIRLEAD_URL);
    const { value } = await fl.map("visits").compute(pathname, (visits = 0) => visits + 1);
    return Response.json({ page: pathname, visits: value });
  },
};
