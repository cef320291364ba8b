/** An HTTP request, as an app gets it. */
export interface MirrorRequest {
  /** The method, in upper case. */
  method: string;
  /** Path and query. */
  url: string;
  /** By their names in lower case. */
  headers: Record<string, string>;
  /** The whole body, as text. */
  body: string;
}

/** An HTTP answer. */
export interface MirrorResponse {
  /** Its status code. */
  status: number;
  /** Its headers, by their names in lower case. */
  headers: Record<string, string>;
  /** Its whole body, as text. */
  body: string;
}

/**
 * What a mirror answers: the suite's cases of InvokeService and InvokeBinding need a service and a binding that lead to
 * an app which does this. `/status/<n>` is answered with that status and the body "why", `/bytes/<n>` with so many
 * bytes, and all else with what was asked, as JSON.
 */
export function mirrorResponse(asked: MirrorRequest): MirrorResponse {
  const [path = ""] = asked.url.split("?");
  const status = /\/status\/(\d{3})$/.exec(path)?.[1];
  const plain = { "content-type": "text/x", "x-mirror": "1", "set-cookie": "a=1" };
  if (status !== undefined) {
    const body = status === "204" || status === "304" ? "" : "why";
    return { status: Number(status), headers: { ...plain, location: "/elsewhere" }, body };
  }
  const bytes = /\/bytes\/(\d{1,8})$/.exec(path)?.[1];
  if (bytes !== undefined) return { status: 200, headers: plain, body: "x".repeat(Number(bytes)) };
  const headers = { "content-type": "application/json", "x-asked": asked.method };
  return { status: 200, headers, body: JSON.stringify(asked) };
}
