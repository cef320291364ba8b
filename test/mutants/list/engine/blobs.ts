// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source text
import { faultsOf, type Mutant } from "../../mutant.js";

export const blobsMutants: readonly Mutant[] = [
  ...faultsOf("engine", "engines/memory/blobs.ts", [
    ["the digest is of nothing", "hash.update(piece);\n", "", /put\(\) tells what it stored/],
    [
      "times are none",
      "modifiedMs: this.#limits.now(),",
      "modifiedMs: Number.NaN,",
      /put\(\) tells what it stored/,
    ],
    [
      "missing blobs are failures",
      "if (!blob) return undefined;",
      "if (!blob) throw away();",
      /missing blob/,
    ],
    [
      "empty blobs are not stored",
      "const info: BlobInfo = {",
      "if (size === 0) return undefined;\n      const info: BlobInfo = {",
      /empty blob/,
    ],
    [
      "chunks stay as they came",
      "for await (const piece of rechunk(content, PIECE_BYTES)) {",
      "for await (const piece of content) {",
      /joins chunks/,
    ],
    [
      "metadata is added to",
      "metadata: { ...metadata },\n",
      "metadata: { ...present?.info.metadata, ...metadata },\n",
      /replaces its content and metadata/,
    ],
    [
      "names are normalised",
      "const blob = this.#blobs.get(name);\n    if (!blob) return undefined;",
      'const blob = this.#blobs.get(name.normalize("NFC"));\n    if (!blob) return undefined;',
      /names are opaque/,
    ],
    [
      "every delete removed something",
      "return blob !== undefined;",
      "return true;",
      /delete\(\) removes, and tells/,
    ],
    [
      "blobs are there from their beginning",
      "const hash = sha256.create();",
      'const hash = sha256.create();\n    if (!this.#blobs.get(name)) {\n      const info = { name, size: 0, sha256: "", modifiedMs: 0, metadata: {} };\n      this.#blobs.set(name, { info, pieces: [], bytes: 0, readers: 0, removed: false });\n    }',
      /shows nothing before/,
    ],
    [
      "what is replaced is gone from the beginning",
      "const hash = sha256.create();",
      "const hash = sha256.create();\n    await this.delete(name);",
      /shows the old blob until/,
    ],
    [
      "errors of the content are swallowed",
      "} finally {\n      if (!stored)",
      "} catch {\n      return undefined;\n    } finally {\n      if (!stored)",
      /rethrows the error/,
    ],
    [
      "ifAbsent overwrites",
      "if (ifAbsent && this.#blobs.get(name)) return undefined;",
      "ifAbsent = false;",
      /ifAbsent stores where/,
    ],
    [
      "ifAbsent is checked in the beginning only",
      "if (ifAbsent && present) return undefined;\n",
      "",
      /gives way where|lets one of racing/,
    ],
    [
      "writers share their pieces",
      "const pieces: Uint8Array[] = [];",
      "const writing = this as unknown as Record<string, Uint8Array[]>;\n    const pieces: Uint8Array[] = (writing[name] ??= []);",
      /racing writers leaves one/,
    ],
    [
      "readers see what is written",
      "if (present) this.#remove(present);",
      "if (present) {\n        this.#remove(present);\n        present.pieces = pieces;\n      }",
      /that were there, whatever/,
    ],
    [
      "readers lose what is deleted",
      "if (blob) this.#remove(blob);\n",
      "if (blob) {\n      this.#remove(blob);\n      blob.pieces = [];\n    }\n",
      /reads on after the blob is deleted/,
    ],
    [
      "lengths are ends",
      "Math.min(blob.info.size, offset + length)",
      "Math.min(blob.info.size, length)",
      /with a range/,
    ],
    [
      "the first reader who leaves ends all",
      "blob.readers--;\n",
      "blob.readers--;\n      blob.pieces = [];\n",
      /several readers gives each the whole/,
    ],
    [
      "lists do not tell metadata",
      "yield info;",
      "yield { ...info, metadata: {} };",
      /tells of each what stat/,
    ],
    [
      "lists end early where the engine closes",
      "yield info;\n      this.#checkOpen();",
      "yield info;",
      /cuts nothing short/,
    ],
    [
      "what ends after the end is stored",
      "this.#checkOpen();\n      const present = this.#blobs.get(name);",
      "const present = this.#blobs.get(name);",
      /leaves a blob unstored/,
    ],
  ]),
  ...faultsOf("engine", "engines/memory.ts", [
    ["it has no name", 'name: "memory"', 'name: ""', /name is not empty/],
    [
      "closing again fails",
      "const close = async () => {",
      'let closed = false;\n  const close = async () => {\n    if (closed) throw new Error("it is closed");\n    closed = true;',
      /close\(\) is idempotent/,
    ],
    [
      "disposing does not close",
      "[asyncDispose]: close }",
      "[asyncDispose]: async () => {} }",
      /await using/,
    ],
  ]),
];
