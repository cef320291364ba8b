// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { PRIMITIVE_NAMES } from "../../../src/server/primitives.js";
import { faultsOf, type Mutant } from "../mutant.js";

/** What goes wrong for several primitives alike. */
export const requestsMutants: readonly Mutant[] = [
  ...faultsOf(PRIMITIVE_NAMES, "calls/validate.ts", [
    [
      "requests are not checked",
      "check(request.method.input, request.message);",
      "void check;",
      / needs? (a|an|the|its) |without a key|required|malformed|must be there|names the |well formed|that is none|is none is|page_size below 0|above 0|named by its place|ttlInSeconds of "|naming the field/,
    ],
    [
      "the messages of a stream are not checked",
      "check(method.input, part);",
      "void check;",
      /malformed|well formed|an offset or a length|ends the stream|without a store|subscription needs a|entry needs a|above the limit|metadata that means|names the field/,
    ],
  ]),
  ...faultsOf(PRIMITIVE_NAMES, "calls/validate/message-rules.ts", [
    [
      "secrets may have control characters",
      "rule(runtime.GetSecretRequestSchema, { storeName: name, key: secretKey });",
      "rule(runtime.GetSecretRequestSchema, { storeName: name, key });",
      /names are exact/,
    ],
  ]),
  ...faultsOf(PRIMITIVE_NAMES, "calls/validate/field-rules.ts", [
    [
      "content types may have line breaks",
      "if (/^[\\x20-\\x7e]{0,255}$/.test(text)) return;",
      "if (text.length < 1000) return;",
      /content type that is no|a content type with a line break/,
    ],
    [
      "keys may be longer",
      "if (bytes > keyBytes) throw exhausted",
      "if (bytes > keyBytes * 100) throw exhausted",
      /above 1024 bytes|of 1025 bytes/,
    ],
    [
      "keys are shorter",
      "if (bytes > keyBytes) throw exhausted",
      "if (bytes > keyBytes / 2) throw exhausted",
      /may have 1024 bytes/,
    ],
    [
      "values are smaller",
      'const length = typeof value === "string" ? utf8Length(value) : (value as Uint8Array).length;\n  if (length > valueBytes)',
      'const length = typeof value === "string" ? utf8Length(value) : (value as Uint8Array).length;\n  if (length > valueBytes / 8)',
      /may have [14] MiB/,
    ],
    [
      "values are not bounded",
      'if (length > valueBytes) throw exhausted("valueBytes", valueBytes, `${field} has ${length} bytes`);\n};\n\n/** The content of a google',
      "};\n\n/** The content of a google",
      /above the limit/,
    ],
  ]),
  ...faultsOf(PRIMITIVE_NAMES, "errors.ts", [
    [
      "what is not configured is not named",
      '[info("NOT_CONFIGURED", { kind: label, name })]',
      '[info("NOT_CONFIGURED", { kind: label })]',
      /not configured/,
    ],
  ]),
  ...faultsOf(["bindings", "service"], "services/shared/http-client.ts", [
    [
      "answers are not bounded",
      "if (size <= most) continue;",
      "if (size > 0) continue;",
      /answer above the limit/,
    ],
    [
      "paths are not checked",
      "const flaw = flawOf(path);",
      'const flaw = path === "\\0never" ? flawOf(path) : undefined;',
      /leads out of|no open proxy/,
    ],
    [
      "paths may begin with a scheme",
      "if (/^[a-z][a-z0-9+.-]*:/i.test(path))",
      'if (path === "\\0never")',
      /http:evil|javascript:/,
    ],
    [
      "paths may begin with two slashes",
      'if (path.startsWith("//")) return "it begins with two slashes";',
      "",
      /"\/\/evil/,
    ],
    [
      "a % may encode nothing",
      'if (/%(?![0-9a-f]{2})/i.test(path)) return "it has a % that encodes nothing";',
      "",
      /"\/%zz"/,
    ],
  ]),
];
