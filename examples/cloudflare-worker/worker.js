import { createClient } from "fairlead";

/** Counts the visits of each page across all isolates and locations. */
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    // A socket belongs to the request that opened it, so each request has its own client. It makes no call by itself.
    const fl = createClient(env.FAIRLEAD_URL);
    const { value } = await fl.map("visits").compute(pathname, (visits = 0) => visits + 1);
    return Response.json({ page: pathname, visits: value });
  },
};
