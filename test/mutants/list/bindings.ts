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
  ...faultsOf(["bindings", "invocation"], "services/http.ts", [
    [
      "dots are let through",
      ".some((segment) => /^\\.\\.?(;|$)/.test(segment))",
      '.some((segment) => segment === "never")',
      /"\.\.\/admin"/,
    ],
    [
      "encoded dots are let through",
      "return plain === path ? path : unmasked(plain);",
      "return path;",
      /%2e/,
    ],
    ["backslashes are let through", 'if (path.includes("\\\\")) return "it has a backslash";', "", /\\\\/],
  ]),
];
