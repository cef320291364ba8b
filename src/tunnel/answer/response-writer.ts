import { statusFromError } from "../call/status-error.js";
import type { Stream } from "../flow/stream.js";
import type { Session } from "../session.js";
import { type CallStatus, type HeaderList, OK_STATUS } from "../wire/frame.js";
import { toHeaderList, toHeaders } from "../wire/header-list.js";

/** Creates headers, by default none. */
export type CreateHeaders = (list?: HeaderList) => Headers;

/** The headers of a call, and its response. Headers objects are created when they are read: most handlers read none. */
export class ResponseWriter {
  /** Headers that the response carries beside those of its handler. */
  addedHeader: HeaderList = [];
  readonly #session: Session;
  readonly #stream: Stream;
  readonly #requestList: HeaderList;
  readonly #createHeaders: CreateHeaders;
  #requestHeader: Headers | undefined;
  #header: Headers | undefined;
  #trailer: Headers | undefined;
  #hasSentHeader = false;

  constructor(
    session: Session,
    stream: Stream,
    requestHeader: HeaderList,
    createHeaders: CreateHeaders = toHeaders,
  ) {
    this.#createHeaders = createHeaders;
    this.#session = session;
    this.#stream = stream;
    this.#requestList = requestHeader;
  }

  get requestHeader(): Headers {
    return (this.#requestHeader ??= this.#createHeaders(this.#requestList));
  }

  get header(): Headers {
    return (this.#header ??= this.#createHeaders());
  }

  get trailer(): Headers {
    return (this.#trailer ??= this.#createHeaders());
  }

  /** Takes over the headers that an interceptor returned: they may be another object. */
  replaceHeader(header: Headers): void {
    replaceAll(this.header, header);
  }

  replaceTrailer(trailer: Headers): void {
    replaceAll(this.trailer, trailer);
  }

  /** The status of a response that succeeded. */
  get okStatus(): CallStatus {
    const trailers = toHeaderList(this.#trailer);
    return trailers.length > 0 ? { ...OK_STATUS, trailers } : OK_STATUS;
  }

  /** The status of a response that failed with what the handler threw. */
  errorStatus(thrown: unknown): CallStatus {
    return statusFromError(thrown, this.#trailer);
  }

  /** Sends the header, unless it was sent. */
  sendHeader(): void {
    if (this.#hasSentHeader) return;
    this.#hasSentHeader = true;
    this.#session.sendHeaders(this.#stream, toHeaderList(this.#header).concat(this.addedHeader));
  }

  /** Sends the only message of the response, with its end. */
  sendOnly(message: Uint8Array, status: CallStatus): void {
    if (status.trailers.length === 0) {
      this.#stream.send(message, true);
    } else {
      this.#stream.send(message);
      this.#stream.end(status);
    }
  }
}

function replaceAll(own: Headers, replacement: Headers): void {
  if (own === replacement) return;
  for (const name of [...own.keys()]) own.delete(name);
  replacement.forEach((value, name) => {
    own.append(name, value);
  });
}
