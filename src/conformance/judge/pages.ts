import type { Judge } from "./judge.js";
import type { Observation } from "./operations.js";
import { verdictTable } from "./table.js";

/** The HTTP pages of a judge: `/scenarios`, `/report` and `/done`. */
export interface JudgePages {
  /** The prefixes of the paths. */
  readonly paths: readonly string[];
  /** Answers a request below one of `paths`. */
  fetch(request: Request): Promise<Response>;
  /** Resolves when the client posts to `/done`. */
  readonly done: Promise<void>;
}

/** The maximum length of a report, in characters. */
const MAX_REPORT_LENGTH = 1024 * 1024;

/**
 * `GET /scenarios` lists the scenarios, `POST /scenarios/<id>` takes the client's report and returns the verdict,
 * `GET /report` returns all verdicts (as text if the client accepts that), `POST /done` ends the run.
 */
export function judgePages(judge: Judge): JudgePages {
  let finish = () => {};
  const done = new Promise<void>((resolve) => (finish = resolve));

  const report = async (id: string, request: Request): Promise<Response> => {
    if (!judge.scenarios.some((each) => each.id === id))
      return errorResponse(404, `there is no scenario "${id}"`);
    const text = await request.text();
    if (text.length > MAX_REPORT_LENGTH)
      return errorResponse(413, `a report has at most ${MAX_REPORT_LENGTH} characters`);
    const seen = parseReport(text);
    if (typeof seen === "string") return errorResponse(400, seen);
    const { status, reason: why } = await judge.evaluate(id, seen);
    return Response.json({ id, status, ...(why && { why }) });
  };

  const answer = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url);
    const [, page, id] = pathname.split("/");
    const route = `${request.method} /${page}${id === undefined ? "" : "/"}`;
    if (route === "GET /scenarios") return Response.json(judge.scenarios.map(publicFields));
    if (route === "POST /scenarios/") return report(id ?? "", request);
    if (route === "GET /report") {
      const text = request.headers.get("accept")?.startsWith("text/plain");
      if (text) return new Response(verdictTable(judge.verdicts()));
      return Response.json(
        judge.verdicts().map(({ scenario, status, reason: why }) => ({ id: scenario.id, status, why })),
      );
    }
    if (route === "POST /done") {
      finish();
      return new Response(null, { status: 204 });
    }
    const pages = "GET /scenarios, POST /scenarios/<id>, GET /report and POST /done";
    return errorResponse(404, `${request.method} ${pathname} is not served: there are ${pages}`);
  };
  return { paths: ["scenarios", "report", "done"], fetch: answer, done };
}

/** The fields of a scenario that a client may see: not the expected outcome. */
const publicFields = ({ id, primitive, sentence, rule, operation }: Judge["scenarios"][number]) => ({
  id,
  primitive,
  sentence,
  rule,
  operation,
});

const errorResponse = (status: number, error: string): Response => Response.json({ error }, { status });

/** The parsed report, or the reason why it is invalid. */
function parseReport(text: string): Observation | string {
  const shape =
    'a report is { "value": …, "code": "not_found", "message": … }, of which each may be left out';
  let seen: unknown;
  try {
    seen = JSON.parse(text);
  } catch {
    return `not JSON: ${shape}`;
  }
  if (typeof seen !== "object" || seen === null || Array.isArray(seen)) return shape;
  const { value, code, message } = seen as Observation;
  if (code !== undefined && typeof code !== "string") return `code must be a text: ${shape}`;
  if (message !== undefined && typeof message !== "string") return `message must be a text: ${shape}`;
  return {
    ...(value !== undefined && { value }),
    ...(code !== undefined && { code }),
    ...(message !== undefined && { message }),
  };
}
