/** An HTTP request that the mirror receives. */
export interface MirrorRequest {
  /** The method, in upper case. */
  method: string;
  /** Path and query. */
  url: string;
  /** The headers, by names in lower case. */
  headers: Record<string, string>;
  /** The whole body, as text. */
  body: string;
}

/** The mirror's HTTP response. */
export interface MirrorResponse {
  /** The status code. */
  status: number;
  /** The headers, by names in lower case. */
  headers: Record<string, string>;
  /** The whole body, as text. */
  body: string;
}

/**
 * The response of a mirror app. The cases of InvokeService and InvokeBinding need a service and a binding that lead to
 * such an app. `/status/<n>` returns that status and the body "why", `/bytes/<n>` returns n bytes, and every other path
 * returns the request as JSON.
 *
 */
export function mirrorResponse(request: MirrorRequest): MirrorResponse {
  const [path = ""] = request.url.split("?");
  const status = /\/status\/(\d{3})$/.exec(path)?.[1];
  const plain = { "content-type": "text/x", "x-mirror": "1", "set-cookie": "a=1" };
  if (status !== undefined) {
    const body = status === "204" || status === "304" ? "" : "why";
    return { status: Number(status), headers: { ...plain, location: "/elsewhere" }, body };
  }
  const bytes = /\/bytes\/(\d{1,8})$/.exec(path)?.[1];
  if (bytes !== undefined) return { status: 200, headers: plain, body: "x".repeat(Number(bytes)) };
  const headers = { "content-type": "application/json", "x-asked": request.method };
  return { status: 200, headers, body: JSON.stringify(request) };
}
