import { Code, decodeBinaryHeader } from "@connectrpc/connect";
import {
  type GetFileMetaResponse,
  GetFileMetaResponseSchema,
  type FileInfo as WireInfo,
} from "../../../gen/runtime/files_pb.js";
import { FILE_HEADER } from "../../rpc/extension-headers.js";
import { hasCode } from "../errors/facts.js";

/** What a store knows of a file without reading it. */
export interface FileInfo {
  /** The name, as the store tells it. */
  name: string;
  /** In bytes. */
  size: number;
  /** When it was last written; an invalid date where the server's text for it cannot be read. */
  modifiedAt: Date;
  /** The media type it was put with; undefined where the server does not tell. */
  contentType: string | undefined;
  /** The digest of the content, in lower-case hex; undefined where the server does not tell. */
  sha256: string | undefined;
  /** What else was put with it. */
  metadata: Record<string, string>;
}

/** A file of a listing. */
export function listedInfo({ fileName, size, lastModified, metadata }: WireInfo): FileInfo {
  return infoOf(fileName, size, lastModified, metadata);
}

/** A described file. */
export function describedInfo(name: string, { size, lastModified, response }: GetFileMetaResponse): FileInfo {
  const values = Object.entries(response?.metadata ?? {}).map(([key, { value }]) => [key, value.join(", ")]);
  return infoOf(name, size, lastModified, Object.fromEntries(values));
}

/** The file that a response's headers describe; undefined where they do not. */
export function infoInHeaders(name: string, headers: Headers): FileInfo | undefined {
  const described = headers.get(FILE_HEADER);
  return described === null
    ? undefined
    : describedInfo(name, decodeBinaryHeader(described, GetFileMetaResponseSchema));
}

/** `undefined` in the place of the failure that there is no such file. */
export async function undefinedIfNotFound<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (hasCode(error, Code.NotFound)) return undefined;
    throw error;
  }
}

function infoOf(name: string, size: bigint, lastModified: string, known: Record<string, string>): FileInfo {
  const { contentType, sha256, ...metadata } = known;
  return { name, size: Number(size), modifiedAt: timeOf(lastModified), contentType, sha256, metadata };
}

/** Go's `Time.String()`: "2006-01-02 15:04:05.999999999 -0700 MST". */
const GO_TIME = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d{1,3})?\d* ([+-]\d\d)(\d\d) /;

/** The moment that `text` tells: RFC 3339 here, whatever else the date parser knows or Go's own form elsewhere. */
function timeOf(text: string): Date {
  const [, date, time, fraction = "", hours, minutes] = GO_TIME.exec(text) ?? [];
  return new Date(date ? `${date}T${time}${fraction}${hours}:${minutes}` : text);
}
