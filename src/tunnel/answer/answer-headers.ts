import type { HeaderList } from "../wire/frame.js";
import { toHeaderList, toHeaders } from "../wire/header-list.js";

/** The headers of a call and of its answer. Each is made when it is looked at: most handlers look at none. */
export class AnswerHeaders {
  /** What the answer carries beside what its handler gave it. */
  added: HeaderList = [];
  readonly #list: HeaderList;
  #request: Headers | undefined;
  #response: Headers | undefined;
  #trailer: Headers | undefined;

  constructor(request: HeaderList) {
    this.#list = request;
  }

  get request(): Headers {
    return (this.#request ??= toHeaders(this.#list));
  }

  get response(): Headers {
    return (this.#response ??= new Headers());
  }

  get trailer(): Headers {
    return (this.#trailer ??= new Headers());
  }

  /** What is behind the answer; undefined where nobody asked for it. */
  get trailerIfAny(): Headers | undefined {
    return this.#trailer;
  }

  /** What the answer begins with. */
  get toSend(): HeaderList {
    const own = this.#response ? toHeaderList(this.#response) : [];
    return this.added.length > 0 ? [...own, ...this.added] : own;
  }

  /** Takes over what an interceptor gave back, which may be other headers than it was given. */
  replaceResponse(given: Headers): void {
    replace(this.response, given);
  }

  replaceTrailer(given: Headers): void {
    replace(this.trailer, given);
  }
}

function replace(own: Headers, given: Headers): void {
  if (own === given) return;
  for (const name of [...own.keys()]) own.delete(name);
  given.forEach((value, name) => {
    own.append(name, value);
  });
}
