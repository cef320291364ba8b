// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const bindingsMutants: readonly Mutant[] = [
  ...faultsOf("bindings", "services/bindings.ts", [
    [
      "echo is deaf",
      "return { data: request.data, metadata: request.metadata };",
      "return { data: request.data };",
      /echo answers/,
    ],
    [
      "statuses are no errors",
      'if (errorIfNot2XX === "true" && ',
      'if (errorIfNot2XX === "never" && ',
      /the answer 404/,
    ],
    ["create is PUT", '["create", "POST"],', '["create", "PUT"],', /the operation create/],
    ["every metadata is a header", "if (!/^[A-Z]/.test(key)) continue;", "", /upper-case letter/],
  ]),
  ...faultsOf(["bindings", "service"], "services/shared/http-client.ts", [
    [
      "dots are let through",
      ".some((segment) => /^\\.\\.?(;|$)/.test(segment))",
      '.some((segment) => segment === "never")',
      /"\.\.\/admin"/,
    ],
    [
      "encoded dots are let through",
      "return plain === path ? path : decodeRepeatedly(plain);",
      "return path;",
      /%2e/,
    ],
    ["backslashes are let through", 'if (path.includes("\\\\")) return "it has a backslash";', "", /\\\\/],
  ]),
  ...faultsOf("bindings", "services/bindings.ts", [
    [
      "echo takes bytes for text",
      "return { data: request.data, metadata",
      "return { data: new TextEncoder().encode(new TextDecoder().decode(request.data)), metadata",
      /gives bytes back/,
    ],
    [
      "every operation is POST",
      "(operation) => [operation, operation.toUpperCase()] as const",
      '(operation) => [operation, "POST"] as const',
      /the operation (get|put|patch|delete|options|head) is/,
    ],
    [
      "post is PUT",
      "(operation) => [operation, operation.toUpperCase()] as const",
      '(operation) => [operation, operation === "post" ? "PUT" : operation.toUpperCase()] as const',
      /the operation post is/,
    ],
    [
      "any operation is get",
      "const method = METHODS.get(operation);",
      'const method = METHODS.get(operation) ?? "GET";',
      /the operation "/,
    ],
    [
      "queries are lost",
      "urlUnder(base, ...splitQuery(path),",
      'urlUnder(base, splitQuery(path)[0], "",',
      /with its query/,
    ],
    [
      "the connection's headers can be set",
      "if (isHopByHop(key.toLowerCase())) {",
      'if (key === "never") {',
      /the connection's own/,
    ],
    [
      "what is no header is left out",
      'throw invalid("metadata", key, "must be the name of a header, and its value have no line breaks");',
      "",
      /a malformed header/,
    ],
    [
      "every status is 200",
      "statusCode: String(response.status), status",
      'statusCode: "200", status',
      /status and headers are metadata/,
    ],
    [
      "errorIfNot2XX may be anything",
      'if (errorIfNot2XX !== "true" && errorIfNot2XX !== "false") {',
      'if (errorIfNot2XX === "never") {',
      /must be true or false/,
    ],
  ]),
];
