import type { Transport } from "@connectrpc/connect";
import type { Fairlead } from "fairlead";

/** The input of the suite from its driver. Plain data, since it is sent in URLs, arguments and messages. */
export interface Setting {
  /** The runtime's name in the report, and in the names that the suite writes to. */
  runtime: string;
  /** The URL of the server. */
  url: string;
  /** The URL of an HTTP app that responds with the request. The server has it as the service "mirror". */
  mirror: string;
  /** The port on which this program may serve AppCallback. Undefined if it cannot listen. */
  callbackPort?: number;
}

/** A feature that a transport may lack. */
export type Need =
  /** Calls that stream from the client, or in both directions. */
  | "streams"
  /** Calls that stream in both directions at the same time. */
  | "duplex"
  /** Calls from the server to the app. */
  | "serve"
  /** A port of its own that the server calls. */
  | "listen";

/** A transport that may need to be closed. */
export type ClosableTransport = Transport & { close?(): Promise<void> };

/** A transport to the server, as users create it. */
export interface TestedTransport {
  /** The column of the table. */
  name: string;
  /** The reason why this runtime cannot use it; undefined: it can. */
  absent?: string | undefined;
  /** The reason why it does not support `need`; undefined: it does. */
  lacks(need: Need): string | undefined;
  /** Opens another connection, with `appId` as its app id. */
  open(appId?: string): ClosableTransport;
  /** Called after all cases. */
  close?(): Promise<void>;
}

/** The input of a case. Every name that it writes to begins with `id`. */
interface CaseContext {
  fl: Fairlead;
  id: string;
  setting: Setting;
  tested: TestedTransport;
  /** Opens another client, with `appId` as its app id. It is closed when the case ends. */
  another(appId?: string): Fairlead;
}

/** A sentence of the specification, tested through the facades. */
export interface Case {
  name: string;
  needs?: Need[];
  run(at: CaseContext): Promise<void>;
}

/** The result of a case. */
export interface CaseResult {
  runtime: string;
  transport: string;
  primitive: string;
  case: string;
  tookMs: number;
  outcome: "ok" | "skipped" | "failed";
  /** Why it was skipped or failed. */
  reason?: string;
}
