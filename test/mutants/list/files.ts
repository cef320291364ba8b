// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../mutant.js";

export const filesMutants: readonly Mutant[] = [
  ...faultsOf("files", "services/files.ts", [
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
      "...(length !== undefined && { length: bytes(length) }) };",
      '...(length !== undefined && { length: bytes(length) - bytes(offset ?? "0") }) };',
      /offset 4 and length 2/,
    ],
    [
      "numbers that are not exact are none",
      "Math.min(Number(text), Number.MAX_SAFE_INTEGER);",
      "(Number.isSafeInteger(Number(text)) ? Number(text) : 0);",
      /(offset|length) 9999999999999999/,
    ],
    [
      "chunks are larger",
      "for await (const data of rechunk(content, PIECE_BYTES)) yield { data };",
      "for await (const data of rechunk(content, 2 * PIECE_BYTES)) yield { data };",
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
  ...faultsOf("files", "services/files.ts", [
    [
      "the first message has no data",
      "for (let part = first; !part.done; part",
      "for (let part = await abortable(upload.next(), signal); !part.done; part",
      /the first one too/,
    ],
    [
      "the first message may say nothing",
      'if (value === "") throw invalid(field, value, "must not be empty in the first message");',
      "",
      /zero messages|first message without/,
    ],
    ["chunks are cut", "yield { data };", "yield { data: data.subarray(0, 65_000) };", /3 MiB/],
    [
      "what is not there is deleted",
      'if (!(await blobs.delete(blobName(storeName, name)))) throw notFound("file", name);',
      "await blobs.delete(blobName(storeName, name));",
      /DelFile of a file/,
    ],
    [
      "missing files have no code",
      'if (!info) throw notFound("file", name);',
      'if (!info) throw new TypeError("no such file");',
      /GetFileMeta of a file/,
    ],
    [
      "everything has a range",
      "if (range) responseHeader.set(RANGE_HEADER, contentRange(range, found.info.size));",
      "responseHeader.set(RANGE_HEADER, contentRange(range ?? { offset: 0 }, found.info.size));",
      /no fairlead-range/,
    ],
    [
      "empty pages have a marker",
      'files.at(-1)?.fileName ?? ""',
      "files.at(-1)?.fileName ?? prefix",
      /has no marker/,
    ],
    [
      "a marker is the first of its page",
      'files.at(-1)?.fileName ?? ""',
      'files.at(0)?.fileName ?? ""',
      /page after page/,
    ],
    ["pages are small", "pageSize || DEFAULT_PAGE", "pageSize || 2", /page_size of 0/],
    [
      "lists do not tell what is kept",
      "size: BigInt(info.size), lastModified, metadata });",
      "size: BigInt(info.size), lastModified, metadata: {} });",
      /a list tells/,
    ],
    [
      "PutFile does not describe the file",
      "responseHeader.set(FILE_HEADER, fileHeader(info));\n  return {};",
      "return {};",
      /in a header as GetFileMeta/,
    ],
  ]),
  ...faultsOf("files", "calls/validate/field-rules.ts", [
    [
      "metadata is not bounded",
      "if (bytes > fileMetadataBytes) {",
      "if (bytes < 0) {",
      /kept with a file is bounded/,
    ],
  ]),
  ...faultsOf("files", "engines/memory/blobs.ts", [
    [
      "empty files are not stored",
      "const info: BlobInfo = {",
      "if (size === 0) return undefined;\n      const info: BlobInfo = {",
      /a file without data/,
    ],
    [
      "the longer file stays",
      "if (present) this.#remove(present);",
      "if (present && present.info.size > size) return present.info;\n      if (present) this.#remove(present);",
      /a shorter file/,
    ],
    [
      "what is replaced is gone from the beginning",
      "const hash = sha256.create();",
      "const hash = sha256.create();\n    await this.delete(name);",
      /old one until the end|leaves the file as it was/,
    ],
    [
      "writers share their pieces",
      "const pieces: Uint8Array[] = [];",
      "const writing = this as unknown as { all?: Uint8Array[] };\n    const pieces: Uint8Array[] = (writing.all ??= []);",
      /many files are written/,
    ],
    [
      "what begins alike is deleted as well",
      "if (blob) this.#remove(blob);\n",
      "for (const each of [...this.#blobs.under(name)]) this.#remove(each);\n",
      /none that begins as it does/,
    ],
    [
      "a size stays",
      "size,\n        sha256",
      "size: present?.info.size ?? size,\n        sha256",
      /replaced is listed once/,
    ],
  ]),
  ...faultsOf("files", "engines/memory/sorted-map.ts", [
    [
      "the order is that of UTF-16",
      "return compareUtf8(a, b);",
      "return a < b ? -1 : 1;",
      /come in byte order/,
    ],
  ]),
];
