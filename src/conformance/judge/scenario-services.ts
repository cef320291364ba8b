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

/** The services of the API, played by scenarios. */
export interface ScenarioServices {
  /** Registers the services with a router. */
  readonly routes: (router: ConnectRouter) => void;
  /** What came for the scenario `id` since it began. */
  calls(id: string): readonly WireCall[];
  /** The next call of the scenario `id` begins it anew. */
  reset(id: string): void;
}

const SERVICES: readonly DescService[] = [Runtime, Lifecycle, MapService, LogService, GossipMapService];

/** What is remembered of one run of a scenario, so that a client that never stops is stopped. */
const CALLS = 200;
const REQUESTS = 100;

type ScenarioRun = { scenario: Scenario; script: Script; calls: MutableWireCall[] };
type MutableWireCall = { -readonly [name in keyof WireCall]: WireCall[name] } & { requests: unknown[] };
type Handler = (input: unknown, context: HandlerContext) => unknown;

/** Sets up `scenarios` to be played to whoever calls. */
export function createScenarioServices(scenarios: readonly Scenario[]): ScenarioServices {
  const known = new Map(scenarios.map((scenario) => [scenario.id, scenario] as const));
  const runs = new Map<string, ScenarioRun>();

  /** Notes a call of the scenario that it names, and gives what answers it. */
  const begin = (method: DescMethod, name: string | undefined, context: HandlerContext) => {
    const scenario = known.get(name ?? "");
    // Whether anyone is there, and of which make, may be asked beside all scenarios.
    if (!scenario) throw method.localName === "sayHello" && !name ? NO_INSTANCE() : unknownScenario(name);
    let run = runs.get(scenario.id);
    if (!run) runs.set(scenario.id, (run = { scenario, script: scenario.createScript(), calls: [] }));
    if (run.calls.length >= CALLS) {
      throw new ConnectError(`${scenario.id}: more than ${CALLS} calls`, Code.ResourceExhausted);
    }
    const note: MutableWireCall = {
      method: method.localName,
      headers: context.requestHeader,
      requests: [],
      atMs: performance.now(),
      halfClosed: false,
      aborted: false,
    };
    run.calls.push(note);
    context.signal.addEventListener("abort", () => (note.aborted = true), { once: true });
    if (scenario.isFairlead) context.responseHeader.set(SERVER_HEADER, "conformance");
    const answer = run.script[method.localName as keyof Script] as Handler | undefined;
    return { note, answer: answer ?? (() => answerUnscripted(method, scenario.id)) };
  };

  const unary: (method: DescMethod) => Handler = (method) => (request, context) => {
    const { note, answer } = begin(method, scenarioIdOf(context.requestHeader, request), context);
    note.requests.push(request);
    return answer(request, context);
  };

  /** The requests of a stream, the first of which says which scenario it is of. */
  const streamed = async (method: DescMethod, input: AsyncIterable<unknown>, context: HandlerContext) => {
    const requests = input[Symbol.asyncIterator]();
    let step = await requests.next();
    const name = scenarioIdOf(context.requestHeader, step.value);
    const { note, answer } = begin(method, name, context);
    const noted = async function* () {
      for (; !step.done; step = await requests.next()) {
        if (note.requests.length < REQUESTS) note.requests.push(step.value);
        yield step.value;
      }
      note.halfClosed = !context.signal.aborted;
    };
    return { requests: noted(), answer };
  };

  const handlers: Record<DescMethod["methodKind"], (method: DescMethod) => Handler> = {
    unary,
    server_streaming: (method) =>
      async function* (request, context) {
        yield* unary(method)(request, context) as AsyncIterable<unknown>;
      },
    client_streaming: (method) => async (input, context) => {
      const { requests, answer } = await streamed(method, input as AsyncIterable<unknown>, context);
      return answer(requests, context);
    },
    bidi_streaming: (method) =>
      async function* (input, context) {
        const { requests, answer } = await streamed(method, input as AsyncIterable<unknown>, context);
        yield* answer(requests, context) as AsyncIterable<unknown>;
      },
  };

  return {
    routes(router) {
      for (const { methods } of SERVICES) {
        for (const method of methods) {
          router.rpc(method, handlers[method.methodKind](method) as MethodImpl<DescMethod>);
        }
      }
    },
    calls: (id) => runs.get(id)?.calls ?? [],
    reset: (id) => void runs.delete(id),
  };
}

/** What a call gets that its scenario does not speak of. */
function answerUnscripted(method: DescMethod, id: string): never {
  if (method.localName === "sayHello") throw NO_INSTANCE();
  throw new ConnectError(`${id} has no answer to ${method.name}`, Code.Unimplemented);
}

/** As the Go runtime says that there is no such greeting. */
const NO_INSTANCE = () => new ConnectError("no instance found", Code.Unknown);

const unknownScenario = (name: string | undefined): ConnectError =>
  new ConnectError(
    name
      ? `there is no scenario "${name.slice(0, 100)}": GET /scenarios lists them`
      : 'no scenario is named: by the store\'s name, or by the header "scenario"',
    Code.InvalidArgument,
  );
