// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const fileMutants: readonly Mutant[] = [
  ...faultsOf("file", "services/file.ts", [
    [
      "missing files are internal",
      'if (!found) throw notFound("file", name);',
      'if (!found) throw new TypeError("no such file");',
      /GetFile of a file that is not there/,
    ],
    [
      "ranges are not confirmed",
      "if (range) responseHeader.set(RANGE_HEADER",
      'if (range && name === "never") responseHeader.set(RANGE_HEADER',
      /confirmed as/,
    ],
    [
      "lengths are ends",
      "...(length !== undefined && { length: Number(length) }) };",
      "...(length !== undefined && { length: Number(length) - Number(offset ?? 0) }) };",
      /offset 4 and length 2/,
    ],
    [
      "chunks are larger",
      "for await (const data of inPieces(content, PIECE_BYTES)) yield { data };",
      "for await (const data of inPieces(content, 2 * PIECE_BYTES)) yield { data };",
      /chunks of up to 64 KiB/,
    ],
    [
      "a marker is inclusive",
      "marker ? start + marker : undefined",
      "marker ? (start + marker).slice(0, -1) : undefined",
      /marker is exclusive/,
    ],
    [
      "is_truncated is a guess",
      "return page(false);",
      "return page(files.length === most);",
      /is_truncated is exact/,
    ],
    ["times are local", "new Date(unixMs).toISOString()", "new Date(unixMs).toString()", /RFC 3339/],
    [
      "sha256 is not told",
      "({ ...metadata, sha256 })",
      '({ ...metadata, ...(sha256 === "never" && { sha256 }) })',
      /sha256/,
    ],
    [
      "ifAbsent overwrites",
      'ifAbsent: ifAbsent === "true" }',
      'ifAbsent: ifAbsent === "never" }',
      /creates only/,
    ],
  ]),
];
