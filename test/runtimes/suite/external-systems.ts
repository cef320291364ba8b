import { Code } from "@connectrpc/connect";
import { httpStatus } from "fairlead";
import type { Case } from "./case.js";
import { equal, fails } from "./expect.js";

// Cases about secrets, bindings and other apps, which the server reads or calls for a client.

export const secrets: Case[] = [
  {
    name: "get() gives a secret that prints as [redacted], absent is undefined",
    async run({ fl }) {
      const secret = await fl.secrets().get("db");
      equal(secret?.reveal(), "s3cret", "the value");
      equal(`${secret} ${JSON.stringify({ secret })}`, '[redacted] {"secret":"[redacted]"}', "how it prints");
      equal(await fl.secrets().get("no-such"), undefined, "absent");
      equal([...(await fl.secrets().getAll()).keys()].join(), "db", "all of them");
    },
  },
];

export const bindings: Case[] = [
  {
    name: "invoke() sends bytes and metadata, and gets an answer",
    async run({ fl }) {
      const { data } = await fl.bindings.invoke("echo", "create", new Uint8Array([0, 200, 7]));
      equal(data.join(), "0,200,7", "the answer");
      const made = await fl.bindings.invoke("mirror", "create", "hi", { metadata: { path: "/made?x=1" } });
      equal(new TextDecoder().decode(made.data), "POST /made?x=1 hi", "what the target was asked");
    },
  },
  {
    name: "a failure of the target is an error with its HTTP status",
    async run({ fl }) {
      const call = fl.bindings.invoke("mirror", "create", "", { metadata: { path: "/status/503" } });
      const error = await call.catch((error: unknown) => error);
      equal(httpStatus(error), 503, "the status in its details");
    },
  },
];

export const service: Case[] = [
  {
    name: "fetch() and call() reach another app, with method, query, headers and body",
    async run({ fl }) {
      const reply = await fl.service("mirror").fetch("/a/b?c=d", { method: "PUT", body: "hello" });
      equal(`${reply.status} ${await reply.text()}`, "200 PUT /a/b?c=d hello", "the answer");
      equal(reply.headers.get("x-mirror"), "yes", "its header");
      const gone = await fl.service("mirror").fetch("/status/404");
      equal(gone.status, 404, "a status that is no success");
      const error = await fails(fl.service("mirror").call("status/404"), Code.NotFound, "a typed call");
      equal(httpStatus(error), 404, "the status in its details");
    },
  },
  {
    name: "service.serve(): another client's fetch() is answered through the tunnel",
    needs: ["serve"],
    async run({ id, another }) {
      const serving = await another(id).service.serve(async (request) => {
        const { pathname, search } = new URL(request.url);
        return new Response(`${request.method} ${pathname}${search} ${await request.text()}`, {
          status: 201,
        });
      });
      await serving.ready;
      const reply = await another().service(id).fetch("/x?y=z", { method: "POST", body: "hello" });
      equal(`${reply.status} ${await reply.text()}`, "201 POST /x?y=z hello", "the answer");
      await serving.close();
    },
  },
];
