import { Code } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { equal, ok } from "../expect.js";
import { CODES, callsOf, firstRequests, respondInOrder, type Scenario, serverError } from "./scenario.js";

const { listFile, putFile } = Runtime.method;
const TIME = { primitive: "files", rule: "last_modified" } as const;
const LIST = { primitive: "files", rule: "ListFile" } as const;
const PUT = { primitive: "files", rule: "PutFile" } as const;
const MISSING = { primitive: "files", rule: "no entry where one is required" } as const;
const files = (...names: string[]) => names.map((fileName) => ({ fileName, size: 1n, lastModified: "" }));
const LIST_CALL = { call: "files.list", prefix: "d/" } as const;

/** Possible answers to GetFileMeta, ListFile, PutFile and DelFile. */
export const folderScenarios: readonly Scenario[] = [
  ...timeScenarios(),
  {
    ...MISSING,
    id: "stat-missing",
    sentence: "no description is a missing file",
    operation: { call: "files.stat", name: "f" },
    expected: { value: null },
    createScript: () => ({
      getFileMeta() {
        throw serverError(Code.NotFound, "file does not exist");
      },
    }),
  },
  {
    ...LIST,
    id: "list-folder",
    sentence:
      "the names of a listing are those that a file is read by, also where a folder's entries have base names",
    rule: "Go runtime: 8.2 file_name is the base name, and folders are listed too",
    operation: LIST_CALL,
    expected: { value: ["d/a", "d/b/x", "d/c"] },
    createScript: () => ({
      listFile({ request }) {
        if (request?.name === "d/b/" || request?.name === "d/b") return { files: files("x") };
        return { files: files("a", "b", "c") };
      },
      getFileMeta({ request }) {
        const isFolder = request?.name.replace(/\/$/, "") === "d/b";
        return { size: 1n, response: { metadata: { IsDir: { value: [String(isFolder)] } } } };
      },
    }),
  },
  {
    ...LIST,
    id: "list-pages",
    sentence: "a listing goes on after the marker of each page, with another prefix of names than the marker",
    operation: LIST_CALL,
    expected: { value: ["d/a", "d/b", "d/c"] },
    createScript: () => ({
      listFile: ({ marker }) =>
        marker === ""
          ? { files: files("d/a", "d/b"), marker: "#2", isTruncated: true }
          : { files: files("d/c") },
    }),
    checkCalls: (calls) =>
      equal(
        firstRequests(calls, listFile).map(({ marker }) => marker),
        ["", "#2"],
        "the markers",
      ),
  },
  {
    ...LIST,
    id: "list-empty-page",
    sentence: "an empty page with a marker is not the end",
    operation: LIST_CALL,
    expected: { value: ["d/z"] },
    createScript: () => ({
      listFile: respondInOrder(
        { files: [], marker: "m", isTruncated: true },
        { files: files("d/z"), marker: "d/z" },
      ),
    }),
  },
  {
    ...LIST,
    id: "list-no-more",
    sentence: "a page that is not truncated is the last, whatever its marker",
    rule: "Go runtime: 8.2 the marker is the last name returned",
    operation: LIST_CALL,
    expected: { value: ["d/a"] },
    createScript: () => ({
      listFile: respondInOrder(
        { files: files("d/a"), marker: "d/a" },
        { files: files("d/twice"), marker: "d/a" },
      ),
    }),
  },
  {
    ...LIST,
    id: "list-vanished-marker",
    sentence: "a page that is empty as its marker has vanished ends the listing",
    rule: "Go runtime: 8.2 a marker that is not found gives an empty page",
    operation: LIST_CALL,
    expected: { value: ["d/a"] },
    createScript: () => ({
      listFile: respondInOrder({ files: files("d/a"), marker: "d/a", isTruncated: true }, {}),
    }),
  },
  {
    ...LIST,
    id: "list-stuck",
    sentence: "a listing that does not move is a failure, not one without end",
    operation: LIST_CALL,
    expected: { code: CODES },
    createScript: () => ({ listFile: () => ({ files: files("d/a"), marker: "d/a", isTruncated: true }) }),
    checkCalls: (calls) => ok(callsOf(calls, listFile).length < 10, "it was given up by itself"),
  },
  {
    ...LIST,
    id: "list-breaks",
    sentence: "a listing whose second page fails is a failure, not a shorter one",
    operation: LIST_CALL,
    expected: { code: "internal" },
    createScript: () => ({
      listFile: respondInOrder(
        { files: files("d/a"), marker: "d/a", isTruncated: true },
        serverError(Code.Internal, "open d: too many open files"),
      ),
    }),
  },
  {
    ...MISSING,
    id: "delete-missing",
    sentence: "a removal that finds nothing removed nothing",
    operation: { call: "files.delete", name: "f" },
    expected: { value: false },
    createScript: () => ({
      delFile() {
        throw serverError(Code.NotFound, "file does not exist");
      },
    }),
  },
  {
    ...MISSING,
    id: "delete-missing-go",
    sentence: "a removal that finds nothing, which the Go runtime calls internal, removed nothing",
    rule: "Go runtime: 8.2 a missing file is Internal",
    operation: { call: "files.delete", name: "f" },
    expected: { value: false },
    createScript: () => ({
      delFile() {
        throw serverError(Code.Internal, "remove f: no such file or directory");
      },
    }),
  },
  {
    ...MISSING,
    id: "delete-refused",
    sentence: "a removal that fails is not one that found nothing",
    operation: { call: "files.delete", name: "f" },
    expected: { code: "internal" },
    createScript: () => ({
      delFile() {
        throw serverError(Code.Internal, "remove f: directory not empty");
      },
    }),
  },
  {
    ...PUT,
    id: "put-first-message",
    sentence:
      "the first message of an upload names file and store, and what the Go runtime's local store asks for",
    rule: "Go runtime: 8.2 FileMode and FileFlag are required",
    operation: { call: "files.put", name: "f", text: "content" },
    expected: { value: null },
    createScript: () => ({
      async putFile(messages) {
        let first: { name: string; metadata: Record<string, string> } | undefined;
        for await (const message of messages) first ??= message;
        if (first?.metadata["FileMode"] && first.metadata["FileFlag"]) return {};
        throw serverError(Code.Internal, "fileMode / fileFlag is required for put file");
      },
    }),
    checkCalls: (calls) => equal(uploadOf(calls), ["f", "content"], "name and content"),
  },
  {
    ...PUT,
    id: "put-empty",
    sentence: "an empty file is at least one message: none would be none",
    operation: { call: "files.put", name: "f", text: "" },
    expected: { value: null },
    createScript: () => ({
      async putFile(messages) {
        for await (const _ of messages);
        return {};
      },
    }),
    checkCalls: (calls) => equal(uploadOf(calls), ["f", ""], "name and content"),
  },
  {
    ...PUT,
    id: "put-refused",
    sentence: "an upload that is refused before its end is a failure",
    operation: { call: "files.put", name: "f", text: "x".repeat(300_000) },
    expected: { code: "internal" },
    createScript: () => ({
      async putFile(messages) {
        for await (const _ of messages) break;
        throw serverError(Code.Internal, "no space left on device");
      },
    }),
  },
];

/** Time formats of servers, and the moments that they mean. */
function timeScenarios(): Scenario[] {
  const texts: [string, string, string | null][] = [
    ["rfc3339", "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"],
    ["go", "2026-01-02 03:04:05.678901234 +0000 UTC", "2026-01-02T03:04:05.678Z"],
    ["go-zone", "2026-01-02 03:04:05.6 +0800 CST", "2026-01-01T19:04:05.600Z"],
    ["go-seconds", "2026-01-02 03:04:05 -0330 NST", "2026-01-02T06:34:05.000Z"],
    ["unreadable", "some time ago", null],
    ["none", "", null],
  ];
  return texts.map(([name, text, moment]) => ({
    ...TIME,
    id: `time-${name}`,
    sentence: `the time "${text}" is ${moment ?? "not known, and the size still is"}`,
    operation: { call: "files.stat", name: "f" },
    expected: { value: { size: 8_589_934_592, modifiedAt: moment } },
    createScript: () => ({ getFileMeta: () => ({ size: 2n ** 33n, lastModified: text }) }),
  }));
}

/** The name and the bytes of the first upload, as text. */
function uploadOf(calls: Parameters<NonNullable<Scenario["checkCalls"]>>[0]): string[] {
  const messages = (callsOf(calls, putFile)[0]?.requests ?? []) as ReturnType<
    typeof firstRequests<typeof putFile>
  >;
  const text = messages.map(({ data }) => new TextDecoder().decode(data)).join("");
  return [messages[0]?.name ?? "", text];
}
