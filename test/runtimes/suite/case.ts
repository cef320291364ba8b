import type { Transport } from "@connectrpc/connect";
import type { Fairlead } from "fairlead";

/** What a driver tells the suite. Plain data: it travels in URLs, arguments and messages. */
export interface Setting {
  /** The runtime's name in the report, and in what the suite writes. */
  runtime: string;
  /** Where the server is. */
  url: string;
  /** An HTTP app: it answers with what it was asked; the server has it as the service "mirror". */
  mirror: string;
  /** Where this program may serve AppCallback: the server calls it there. Undefined where it cannot listen. */
  callbackPort?: number;
}

/** What a way to the server may be unable to do. */
export type Need =
  /** Calls that stream from the client, or both ways. */
  | "streams"
  /** Calls that stream both ways at the same time. */
  | "duplex"
  /** Being called by the server. */
  | "serve"
  /** A port of its own, which the server calls. */
  | "listen";

/** A transport, and how it is closed. */
export type Way = Transport & { close?(): Promise<void> };

/** A way to the server, as users would make it. */
export interface Door {
  /** The column of the table. */
  name: string;
  /** Why this runtime has no such way; undefined: it has. */
  absent?: string | undefined;
  /** Why it cannot do `need`; undefined: it can. */
  lacks(need: Need): string | undefined;
  /** One more end of its own, which the server knows as `appId`. */
  open(appId?: string): Way;
  /** Once all is done. */
  close?(): Promise<void>;
}

/** What a case is given: every name that it writes to begins with `id`. */
interface At {
  fl: Fairlead;
  id: string;
  setting: Setting;
  door: Door;
  /** Another client, which the server knows as `appId`. It is closed when the case ends. */
  another(appId?: string): Fairlead;
}

/** A sentence of the specification, through the facades. */
export interface Case {
  name: string;
  needs?: Need[];
  run(at: At): Promise<void>;
}

/** What became of a case. */
export interface Told {
  runtime: string;
  transport: string;
  primitive: string;
  case: string;
  tookMs: number;
  outcome: "ok" | "skipped" | "failed";
  /** Why it was skipped, or what failed. */
  reason?: string;
}
