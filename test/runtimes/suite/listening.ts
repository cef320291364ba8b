import { serveCallbacks } from "fairlead/node";
import type { Case } from "./case.js";
import { equal, wait } from "./expect.js";

/** What only a program with a port of its own can be called for. */
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
      // The server asks the app every now and then what it wants, and its group begins with that.
      for (; got.length === 0; await wait(50)) await fl.pubsub().publish(id, { n: 1 });
      await served.close();
      equal(JSON.stringify(got[0]), '{"n":1}', "the event");
    },
  },
];
