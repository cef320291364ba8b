import * as R from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Mutant } from "../mutants.js";
import { answered, asked, unsent } from "../tamper.js";

const CALLS = R.Runtime.method;

/** Clients that go wrong about leases. */
export const leasesMutants: readonly Mutant[] = [
  {
    name: "takes every status for success",
    timed: true,
    tamper: (transport) =>
      answered(
        R.UnlockResponseSchema,
        (message) => void (message.status = 0),
      )(answered(R.LockKeepAliveResponseSchema, (message) => void (message.status = 0))(transport)),
    told: [
      ...["lock-release-gone", "lock-release-others", "lock-release-internal", "lock-release-unknown-status"],
      ...["lock-renewal-gone", "lock-renewal-others", "lock-renewal-unknown-status"],
    ],
  },
  {
    name: "takes every answer for a grant",
    tamper: answered(R.TryLockResponseSchema, (message) => void (message.success = true)),
    told: ["lock-refused"],
  },
  {
    name: "has one owner for all",
    tamper: asked(R.TryLockRequestSchema, (message) => void (message.lockOwner = "me")),
    told: ["lock-owners", "lock-release-owner", "lock-renewed"],
  },
  {
    name: "gives nothing back",
    tamper: unsent(CALLS.unlock),
    told: ["lock-late-grant", "lock-lost-answer", "lock-release-owner", "lock-release-gone"],
  },
  {
    name: "believes that its leases last",
    timed: true,
    tamper: unsent(CALLS.lockKeepAlive),
    told: ["lock-renewed", "lock-renewal-gone", "lock-renewal-others", "lock-renewal-fails"],
  },
  {
    name: "takes a fence for a number",
    tamper: answered(R.TryLockResponseSchema, (_, headers) => {
      const fence = headers.get("fairlead-fence");
      headers.set("fairlead-fence", fence === null ? "0" : String(Number(fence)));
    }),
    told: ["lock-fence", "lock-no-fence"],
  },
  {
    name: "believes that it has the block that it asked for",
    tamper: answered(R.GetNextIdResponseSchema, (_, headers) => headers.set("fairlead-id-count", "1000")),
    told: ["ids-block", "ids-no-blocks", "ids-jump"],
  },
  {
    name: "does not ask for what has to grow",
    tamper: asked(R.GetNextIdRequestSchema, (message) => void (message.options = undefined)),
    told: ["ids-strong"],
  },
];
