import { Code, decodeBinaryHeader } from "@connectrpc/connect";
import {
  type GetFileMetaResponse,
  GetFileMetaResponseSchema,
  type FileInfo as WireInfo,
} from "../../../gen/runtime/files_pb.js";
import { FILE_HEADER } from "../../rpc/extension-headers.js";
import { hasCode } from "../errors/facts.js";
import type { FileInfo } from "../files.js";

/** The description of an entry of ListFile. */
export function listedInfo({ fileName, size, lastModified, metadata }: WireInfo): FileInfo {
  return infoOf(fileName, size, lastModified, metadata);
}

/** The description that GetFileMeta sends. */
export function describedInfo(name: string, { size, lastModified, response }: GetFileMetaResponse): FileInfo {
  const values = Object.entries(response?.metadata ?? {}).map(([key, { value }]) => [key, value.join(", ")]);
  return infoOf(name, size, lastModified, Object.fromEntries(values));
}

/** The description in the response headers of GetFile and PutFile; undefined if there is none. */
export function infoInHeaders(name: string, headers: Headers): FileInfo | undefined {
  const described = headers.get(FILE_HEADER);
  return described === null
    ? undefined
    : describedInfo(name, decodeBinaryHeader(described, GetFileMetaResponseSchema));
}

/** Settles as `result` does, but with undefined if there is no such file. */
export async function undefinedIfNotFound<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (hasCode(error, Code.NotFound)) return undefined;
    throw error;
  }
}

function infoOf(name: string, size: bigint, lastModified: string, all: Record<string, string>): FileInfo {
  const { contentType, sha256, ...metadata } = all;
  return { name, size: Number(size), modifiedAt: timeOf(lastModified), contentType, sha256, metadata };
}

/** Go's `Time.String()`: "2006-01-02 15:04:05.999999999 -0700 MST". */
const GO_TIME = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d{1,3})?\d* ([+-]\d\d)(\d\d) /;

/** The time in `text`: RFC 3339 from a Fairlead server, Go's format or another that Date parses from others. */
function timeOf(text: string): Date {
  const [, date, time, fraction = "", hours, minutes] = GO_TIME.exec(text) ?? [];
  return new Date(date ? `${date}T${time}${fraction}${hours}:${minutes}` : text);
}
