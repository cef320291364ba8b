import { CONFORMANCE_STORES, withConformance } from "../../src/conformance/components.js";
import { mirrorResponse } from "../../src/conformance/mirror.js";
import type { ConfigInput } from "../../src/server/index.js";
import { type HttpApp, httpApp } from "../support/http-app.js";

/** What the servers of the conformance suite call what they have for it. */
export const STORES = CONFORMANCE_STORES;

/** The configuration that STORES describes, with the mirror at `url`. */
export const conformanceConfig = (url: string): ConfigInput => withConformance({}, url);

/** The app that the suite's service and binding lead to. */
export const openMirror = (): Promise<HttpApp> =>
  httpApp(({ headers, ...asked }, response) => {
    const plain = Object.entries(headers).map(([name, value]) => [name, String(value)]);
    const answer = mirrorResponse({ ...asked, headers: Object.fromEntries(plain) });
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
