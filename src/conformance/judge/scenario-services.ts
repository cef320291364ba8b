import type { DescMethod, DescService } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type HandlerContext,
  type MethodImpl,
} from "@connectrpc/connect";
import { LogService } from "../../../gen/atomix/log/log_pb.js";
import { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import { MapService } from "../../../gen/atomix/pb/map/map_pb.js";
import { Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import type { Scenario, Script, WireCall } from "./scenario.js";
import { scenarioIdOf } from "./scenario-id.js";

/** The services of the API, answered by scenarios. */
export interface ScenarioServices {
  /** Registers the services with a router. */
  readonly routes: (router: ConnectRouter) => void;
  /** The calls of the scenario `id` since its first one, or since reset(). */
  calls(id: string): readonly WireCall[];
  /** Starts the scenario `id` again with its next call. */
  reset(id: string): void;
}

const SERVICES: readonly DescService[] = [Runtime, Lifecycle, MapService, LogService, GossipMapService];

/** Limits of one run of a scenario, for clients that never stop. */
const MAX_CALLS = 200;
const MAX_REQUESTS = 100;

type ScenarioRun = { scenario: Scenario; script: Script; calls: MutableWireCall[] };
type MutableWireCall = { -readonly [name in keyof WireCall]: WireCall[name] } & { requests: unknown[] };
type Handler = (input: unknown, context: HandlerContext) => unknown;

/** Creates the services that answer calls by the scripts of `scenarios`. */
export function createScenarioServices(scenarios: readonly Scenario[]): ScenarioServices {
  const runs = new ScenarioRuns(scenarios);
  return {
    routes(router) {
      for (const { methods } of SERVICES) {
        for (const method of methods) router.rpc(method, handlerOf(method, runs) as MethodImpl<DescMethod>);
      }
    },
    calls: (id) => runs.get(id)?.calls ?? [],
    reset: (id) => runs.delete(id),
  };
}

/** The runs of all scenarios, by their ids. */
class ScenarioRuns {
  readonly #scenarios: ReadonlyMap<string, Scenario>;
  readonly #runs = new Map<string, ScenarioRun>();

  constructor(scenarios: readonly Scenario[]) {
    this.#scenarios = new Map(scenarios.map((scenario) => [scenario.id, scenario]));
  }

  get(id: string): ScenarioRun | undefined {
    return this.#runs.get(id);
  }

  delete(id: string): void {
    this.#runs.delete(id);
  }

  /** Records a call of the scenario `id`, and gives the record and the handler of the script. */
  begin(method: DescMethod, id: string | undefined, context: HandlerContext) {
    const { scenario, script, calls } = this.#run(method, id);
    if (calls.length >= MAX_CALLS) {
      throw new ConnectError(`${scenario.id}: more than ${MAX_CALLS} calls`, Code.ResourceExhausted);
    }
    const call: MutableWireCall = {
      method: method.localName,
      headers: context.requestHeader,
      requests: [],
      atMs: performance.now(),
      halfClosed: false,
      aborted: false,
    };
    calls.push(call);
    context.signal.addEventListener("abort", () => (call.aborted = true), { once: true });
    if (scenario.isFairlead) context.responseHeader.set(SERVER_HEADER, "conformance");
    const handler = script[method.localName as keyof Script] as Handler | undefined;
    return { call, handler: handler ?? (() => answerUnscripted(method, scenario.id)) };
  }

  #run(method: DescMethod, id: string | undefined): ScenarioRun {
    const scenario = this.#scenarios.get(id ?? "");
    if (!scenario) {
      // A client may probe the server by SayHello outside of all scenarios.
      throw method.localName === "sayHello" && !id ? noInstance() : unknownScenario(id);
    }
    let run = this.#runs.get(scenario.id);
    if (!run) this.#runs.set(scenario.id, (run = { scenario, script: scenario.createScript(), calls: [] }));
    return run;
  }
}

function handlerOf(method: DescMethod, runs: ScenarioRuns): Handler {
  switch (method.methodKind) {
    case "unary":
      return (request, context) => handleRequest(method, runs, request, context);
    case "server_streaming":
      return async function* (request, context) {
        yield* handleRequest(method, runs, request, context) as AsyncIterable<unknown>;
      };
    case "client_streaming":
      return (input, context) => handleStream(method, runs, input as AsyncIterable<unknown>, context);
    case "bidi_streaming":
      return async function* (input, context) {
        const responses = await handleStream(method, runs, input as AsyncIterable<unknown>, context);
        yield* responses as AsyncIterable<unknown>;
      };
  }
}

function handleRequest(method: DescMethod, runs: ScenarioRuns, request: unknown, context: HandlerContext) {
  const { call, handler } = runs.begin(method, scenarioIdOf(context.requestHeader, request), context);
  call.requests.push(request);
  return handler(request, context);
}

/** Reads the first message of a stream, which may name the scenario, and passes all messages to the handler. */
async function handleStream(
  method: DescMethod,
  runs: ScenarioRuns,
  input: AsyncIterable<unknown>,
  context: HandlerContext,
): Promise<unknown> {
  const requests = input[Symbol.asyncIterator]();
  let step = await requests.next();
  const { call, handler } = runs.begin(method, scenarioIdOf(context.requestHeader, step.value), context);
  const recorded = async function* () {
    for (; !step.done; step = await requests.next()) {
      if (call.requests.length < MAX_REQUESTS) call.requests.push(step.value);
      yield step.value;
    }
    call.halfClosed = !context.signal.aborted;
  };
  return handler(recorded(), context);
}

/** Answers a call for which the scenario has no script. */
function answerUnscripted(method: DescMethod, id: string): never {
  if (method.localName === "sayHello") throw noInstance();
  throw new ConnectError(`${id} has no answer to ${method.name}`, Code.Unimplemented);
}

/** The error of the Go runtime for a greeting that does not exist. */
const noInstance = () => new ConnectError("no instance found", Code.Unknown);

const unknownScenario = (name: string | undefined): ConnectError =>
  new ConnectError(
    name
      ? `there is no scenario "${name.slice(0, 100)}": GET /scenarios lists them`
      : 'no scenario is named: by the store\'s name, or by the header "scenario"',
    Code.InvalidArgument,
  );
