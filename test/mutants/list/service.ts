// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const serviceMutants: readonly Mutant[] = [
  ...faultsOf("service", "services/shared/http-client.ts", [
    ["redirects are followed", 'redirect: "manual", signal', 'redirect: "follow", signal', /302/],
  ]),
  ...faultsOf("service", "services/service.ts", [
    [
      "GET with data",
      "const verb = httpExtension?.verb || (body ? Verb.POST : Verb.GET);",
      "const verb = httpExtension?.verb || Verb.GET;",
      /no verb and data/,
    ],
    ["the status is lost", "responseHeader.set(HTTP_STATUS_HEADER, String(status));", "", /comes back/],
    [
      "the call's own headers go to the app",
      "if (!isReserved(name) && !isFromProxy(name) && !hopByHop.includes(name)) headers.append(name, value);",
      "if (!isFromProxy(name)) headers.append(name, value);",
      /do not go to the app|the call's own/,
    ],
    [
      "apps that left are unknown",
      "if (await context.apps.has(id)) throw",
      'if (id === "never") throw',
      /has left is unavailable/,
    ],
  ]),
  ...faultsOf("service", "services/service.ts", [
    [
      "every method is POST",
      'const method = VerbSchema.value[verb]?.name ?? "GET";',
      'const method = "POST";',
      /asked (GET|PUT|PATCH|DELETE|OPTIONS)|HEAD has/,
    ],
    [
      "POST is PUT",
      'const method = VerbSchema.value[verb]?.name ?? "GET";',
      'const method = (VerbSchema.value[verb]?.name ?? "GET").replace("POST", "PUT");',
      /asked POST/,
    ],
    [
      "HEAD may have data",
      "if (bare && body?.length) throw refuse",
      "if (bare && body?.length === -1) throw refuse",
      /a method that has no body/,
    ],
    ["queries are lost", 'query: queries.filter(Boolean).join("&")', 'query: ""', /the query goes with it/],
    [
      "the app gets no headers",
      "if (!isReserved(name) && !isFromProxy(name) && !hopByHop.includes(name)) headers.append(name, value);",
      "",
      /gets the call's headers/,
    ],
    [
      "prefixed headers are lost",
      'if (stripped !== "" && !isHopByHop(stripped) && !isFromProxy(stripped)) headers.set(stripped, value);',
      "",
      /with the prefix fairlead-http-/,
    ],
    [
      "prefixed headers may be the connection's own",
      'if (stripped !== "" && !isHopByHop(stripped) && !isFromProxy(stripped)) headers.set(stripped, value);',
      'if (stripped !== "" && !isFromProxy(stripped)) headers.set(stripped, value);',
      /headers of the connection do not go/,
    ],
    [
      "the content type is lost",
      'if (contentType !== "") headers.set("content-type", contentType);',
      "",
      /the content type goes to the app/,
    ],
    [
      "callers speak for proxies",
      "if (!isReserved(name) && !isFromProxy(name) && !hopByHop.includes(name))",
      "if (!isReserved(name) && !hopByHop.includes(name))",
      /what only a proxy can know/,
    ],
    [
      "callers speak for proxies with the prefix",
      'if (stripped !== "" && !isHopByHop(stripped) && !isFromProxy(stripped)) headers.set(stripped, value);',
      'if (stripped !== "" && !isHopByHop(stripped)) headers.set(stripped, value);',
      /what only a proxy can know/,
    ],
    [
      "the paths of apps that dialled in are not looked at",
      'checkPath(path, "message.method");',
      "",
      /has the same rule for paths/,
    ],
    [
      "data is lost with GET",
      "const hasBody = !bare && (verb !== Verb.GET || body?.length);",
      "const hasBody = !bare && verb !== Verb.GET;",
      /with GET and data/,
    ],
    [
      "apps that dialled in are not asked",
      "if (dialled) return dialled.result;",
      "",
      /an app that dialled in/,
    ],
    [
      "ids are trimmed",
      'context.components.get("services", id);',
      'context.components.get("services", id.trim().toLowerCase());',
      /ids are exact/,
    ],
  ]),
  ...faultsOf("service", "tunnel/app-registry.ts", [
    [
      "one app is asked all the time",
      "this.#apps.set(name, [...apps.filter((each) => each !== next), next]);",
      "this.#apps.set(name, [next, ...apps.filter((each) => each !== next)]);",
      /in turn/,
    ],
  ]),
];
