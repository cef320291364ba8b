import { serveCallbacks } from "fairlead/node";
import type { Case } from "./case.js";
import { equal, wait } from "./expect.js";

/** Cases for programs with a port of their own. */
export const appCallback: Case[] = [
  {
    name: "serveCallbacks(): the server calls AppCallback by gRPC on the program's own port",
    async run({ fl, id, setting: { callbackPort } }) {
      const got: unknown[] = [];
      const served = await serveCallbacks(
        { [id]: ({ data }) => void got.push(data) },
        {
          ...(callbackPort !== undefined && { port: callbackPort }),
        },
      );
      // The server polls the app for its subscriptions; the group starts with the first poll.
      for (; got.length === 0; await wait(50)) await fl.pubsub().publish(id, { n: 1 });
      await served.close();
      equal(JSON.stringify(got[0]), '{"n":1}', "the event");
    },
  },
];
