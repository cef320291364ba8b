import type { Msg, MsgHdrs } from "@nats-io/transport-node";
import { utf8 } from "../../../lib/utf8.js";
import { ApiResponseError } from "./errors.js";
import type { Requests } from "./requests.js";

/** A Direct Get request for several messages: any replica of the stream answers. See nats-server's ADR-31. */
export type DirectGetRequest =
  /** The messages of a subject, which may have wildcards, from a sequence on. */
  | { seq: number; next_by_subj: string; batch: number; max_bytes: number }
  /** The last message of each of the subjects, which may have wildcards. */
  | { multi_last: readonly string[] };

/** A message of a stream. */
export interface StoredMessage {
  subject: string;
  sequence: number;
  headers: MsgHdrs;
  data: Uint8Array;
}

/** The messages of a response, and the last sequence of the replica that answered, which only `multi_last` tells. */
export interface DirectGetResponse {
  messages: StoredMessage[];
  upToSequence: number;
}

const NOTHING: DirectGetResponse = { messages: [], upToSequence: 0 };

const NOT_FOUND = 404;
const END_OF_BATCH = 204;

/** Requests messages of a stream. A response of which a part was lost is requested again. */
export function directGet(
  session: Pick<Requests, "collect">,
  stream: string,
  request: DirectGetRequest,
): Promise<DirectGetResponse> {
  const data = utf8(JSON.stringify(request));
  return session.collect(`$JS.API.DIRECT.GET.${stream}`, data, isEnd, readResponse);
}

/** Whether this reply has a status, and so is the last one. */
const isEnd = ({ headers }: Msg): boolean => headers?.code !== 0;

/** The whole response; undefined if a part of it is missing. */
function readResponse(replies: Msg[]): DirectGetResponse | undefined {
  const messages: StoredMessage[] = [];
  let last = 0;
  for (const { headers, data } of replies) {
    if (!headers) return undefined;
    const { code } = headers;
    if (code === NOT_FOUND) return NOTHING;
    if (code !== 0 && code !== END_OF_BATCH) {
      throw new ApiResponseError({ code, description: headers.description });
    }
    // Each message names the one before it, so that a lost one is noticed.
    if (Number(headers.get("Nats-Last-Sequence")) !== last) return undefined;
    if (code === END_OF_BATCH) {
      return { messages, upToSequence: Number(headers.get("Nats-UpTo-Sequence") || 0) };
    }
    last = Number(headers.get("Nats-Sequence"));
    const subject = headers.get("Nats-Subject");
    // The client's buffer without the methods of Node's Buffer, which callers do not expect.
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
    messages.push({ subject, sequence: last, headers, data: bytes });
  }
  return undefined;
}
