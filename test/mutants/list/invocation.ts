// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const invocationMutants: readonly Mutant[] = [
  ...faultsOf("invocation", "services/http.ts", [
    ["redirects are followed", 'redirect: "manual", signal', 'redirect: "follow", signal', /302/],
  ]),
  ...faultsOf("invocation", "services/invocation.ts", [
    [
      "GET with data",
      "const verb = httpExtension?.verb || (body ? Verb.POST : Verb.GET);",
      "const verb = httpExtension?.verb || Verb.GET;",
      /no verb and data/,
    ],
    ["the status is lost", "responseHeader.set(HTTP_STATUS, String(status));", "", /comes back/],
    [
      "the call's own headers go to the app",
      "if (!isReserved(name) && !ofConnection.includes(name)) headers.append(name, value);",
      "headers.append(name, value);",
      /do not go to the app|the call's own/,
    ],
    [
      "apps that left are unknown",
      "if (context.apps.knows(id)) throw",
      'if (id === "never") throw',
      /has left is unavailable/,
    ],
  ]),
];
