import { Code } from "@connectrpc/connect";
import { GetFileResponseSchema, Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { sleep } from "../../rpc/sleep.js";
import { ok } from "../expect.js";
import { callsOf, type Scenario, type Script, serverError, withUnknownFields } from "./scenario.js";

const { getFile } = Runtime.method;
const FILE = { primitive: "files", rule: "PutFile" } as const;
const MISSING = { primitive: "files", rule: "no entry where one is required" } as const;
const GET = { call: "files.get", name: "f.txt" } as const;

/** GetFile returns `pieces`; GetFileMeta returns metadata as the Go runtime does. */
const fileContent = (...pieces: Uint8Array[]): Script => ({
  async *getFile() {
    for (const data of pieces) yield { data };
  },
  getFileMeta: () => ({
    size: BigInt(pieces.reduce((sum, { length }) => sum + length, 0)),
    lastModified: "2026-01-02 03:04:05.678901234 +0000 UTC",
    response: { metadata: { FileMode: { value: ["420"] }, IsDir: { value: ["false"] } } },
  }),
});

const letters = (count: number) => "abcdefghij".repeat(Math.ceil(count / 10)).slice(0, count);

function failWith(code: Code, message: string): Script {
  const fail = () => {
    throw serverError(code, message);
  };
  return {
    // biome-ignore lint/correctness/useYield: it fails before its first chunk.
    async *getFile() {
      fail();
    },
    getFileMeta: fail,
    delFile: fail,
  };
}

/** Possible answers to reads of a file. */
export const fileScenarios: readonly Scenario[] = [
  {
    ...MISSING,
    id: "file-missing",
    sentence: "a file that is not found is a missing file",
    operation: GET,
    expected: { value: null },
    createScript: () => failWith(Code.NotFound, "file does not exist"),
  },
  {
    ...MISSING,
    id: "file-missing-go",
    sentence: "a missing file that the Go runtime calls internal is a missing file",
    rule: "Go runtime: 8.1 GetFile is never NotFound",
    operation: GET,
    expected: { value: null },
    createScript: () => failWith(Code.Internal, "get file fail,err: open f.txt: no such file or directory"),
  },
  {
    ...MISSING,
    id: "file-missing-minio",
    sentence: "a missing object that a lazy store tells at the first read is a missing file",
    rule: "Go runtime: 8.3 minio fails at the first read",
    operation: GET,
    expected: { value: null },
    createScript: () => failWith(Code.Internal, "get file fail,err: The specified key does not exist."),
  },
  {
    ...MISSING,
    id: "file-directory",
    sentence: "a directory is not a missing file, nor an empty one",
    rule: "Go runtime: 8.2 a directory fails at its first read",
    operation: GET,
    expected: { code: "internal" },
    createScript: () => failWith(Code.Internal, "get file fail,err: read f.txt: is a directory"),
  },
  {
    ...FILE,
    id: "file-odd-pieces",
    sentence: "pieces of any size, empty ones among them, are the file in their order",
    rule: "Go runtime: 8.1 up to 102400 bytes per message",
    operation: GET,
    expected: { value: `x${letters(102_400)}yz` },
    createScript: () =>
      fileContent(utf8("x"), utf8(""), utf8(letters(102_400)), utf8(""), utf8("yz"), utf8("")),
  },
  {
    ...FILE,
    id: "file-no-pieces",
    sentence: "no message at all is an empty file",
    rule: "Go runtime: 8.1 an empty file is zero messages",
    operation: GET,
    expected: { value: "" },
    createScript: () => fileContent(),
  },
  {
    ...FILE,
    id: "file-empty-piece",
    sentence: "one empty message is an empty file",
    operation: GET,
    expected: { value: "" },
    createScript: () => fileContent(utf8("")),
  },
  {
    ...FILE,
    id: "file-split-character",
    sentence: "a character in two pieces is one character",
    operation: GET,
    expected: { value: "ü日" },
    createScript: () => fileContent(...[...utf8("ü日")].map((byte) => new Uint8Array([byte]))),
  },
  {
    ...FILE,
    id: "file-late-pieces",
    sentence: "pieces that come late are waited for",
    operation: GET,
    expected: { value: "abc" },
    createScript: () => ({
      ...fileContent(utf8("abc")),
      async *getFile(_, { signal }) {
        for (const data of ["a", "b", "c"].map(utf8)) {
          await sleep(150, signal);
          yield { data };
        }
      },
    }),
  },
  {
    ...FILE,
    id: "file-unknown-fields",
    sentence: "pieces with fields of a later version of the API are pieces",
    operation: GET,
    expected: { value: "ab" },
    createScript: () => ({
      ...fileContent(utf8("ab")),
      async *getFile() {
        for (const data of ["a", "b"].map(utf8)) yield withUnknownFields(GetFileResponseSchema, { data });
      },
    }),
  },
  ...[Code.Unavailable, Code.Internal, Code.DataLoss].map(
    (code): Scenario => ({
      ...FILE,
      id: `file-breaks-${Code[code].toLowerCase()}`,
      sentence: `a file that breaks off in the middle as ${Code[code]} is a failure, not a shorter file`,
      operation: GET,
      expected: { code: code === Code.DataLoss ? "data_loss" : Code[code].toLowerCase() },
      createScript: () => ({
        ...fileContent(utf8("abcdef")),
        async *getFile() {
          yield { data: utf8("abc") };
          throw serverError(code, "the disk is gone");
        },
      }),
    }),
  ),
  {
    ...FILE,
    id: "file-left",
    sentence: "a file that is not read to its end is let go of",
    operation: { call: "files.getFirst", name: "f.txt" },
    expected: { value: "abc" },
    createScript: () => ({
      ...fileContent(utf8("abc")),
      async *getFile(_, { signal }) {
        yield { data: utf8("abc") };
        await sleep(20_000, signal);
      },
    }),
    checkCalls: (calls) => ok(callsOf(calls, getFile)[0]?.aborted, "the call was canceled"),
  },
  {
    ...FILE,
    id: "file-range-ignored",
    sentence: "of a server that knows no ranges, and sends all, only what was asked for is taken",
    rule: "Go runtime: 8.1 GetFile reads whole files",
    operation: { ...GET, offset: 3, length: 5 },
    expected: { value: "defgh" },
    createScript: () => fileContent(utf8("ab"), utf8("cde"), utf8("fghij")),
  },
  {
    ...FILE,
    id: "file-range-past-end",
    sentence: "a range past the end of a file is empty, also of a server that sends all",
    rule: "Go runtime: 8.1 GetFile reads whole files",
    operation: { ...GET, offset: 30, length: 5 },
    expected: { value: "" },
    createScript: () => fileContent(utf8("abc")),
  },
];
