import { GossipMapService } from "../../gen/atomix/map/map_pb.js";
import { type Case, casesOf } from "./case.js";
import type { CaseContext } from "./case-context.js";
import { convergenceCases } from "./gossip-map/convergence.js";
import { joinAs, type TestMember } from "./gossip-map/member.js";
import { gossipMessageCases } from "./gossip-map/messages.js";

/** Members of a gossip map that belongs to the case. */
export interface GossipCalls extends CaseContext {
  /** Joins the map. The default source is "member-1". */
  join(options?: { source?: string; namespace?: string; name?: string }): TestMember;
  readonly name: string;
}

function gossipCalls(context: CaseContext): GossipCalls {
  const client = context.client(GossipMapService);
  const name = context.own("m");
  return {
    ...context,
    name,
    join({ source = "member-1", namespace = "default", name: own = name } = {}) {
      const member = joinAs(client, source, { namespace, name: own });
      context.after(member.leave);
      return member;
    },
  };
}

/** The cases of gossip maps. */
export const gossipMapCases: readonly Case[] = casesOf(
  "gossipMap",
  gossipCalls,
  [convergenceCases, gossipMessageCases],
  ["gossip map", "duplex"],
);
