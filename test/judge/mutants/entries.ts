import { LogRecordSchema } from "../../../gen/atomix/log/log_pb.js";
import { GetResponseSchema, PutResponseSchema } from "../../../gen/atomix/pb/map/map_pb.js";
import * as R from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Mutant } from "../mutants.js";
import { answered, asked } from "../tamper.js";

const lossy = (big: bigint) => BigInt(Number(big));

/** Clients that go wrong about entries. */
export const entriesMutants: readonly Mutant[] = [
  {
    name: "takes no data for a missing entry",
    tamper: answered(R.GetStateResponseSchema, (message) => {
      if (message.data.length === 0) message.etag = "";
    }),
    told: ["state-empty"],
  },
  {
    name: "takes no etag for a missing entry",
    tamper: answered(R.GetStateResponseSchema, (message) => {
      if (message.etag === "") message.data = new Uint8Array();
    }),
    told: ["state-without-etags"],
  },
  {
    name: "takes etags for numbers",
    tamper: answered(R.GetStateResponseSchema, (message) => {
      message.etag = String(Number.parseInt(message.etag, 10));
    }),
    told: ["state-etag-opaque", "state-missing"],
  },
  {
    name: "sends no etag where none is asked for",
    tamper: (transport) =>
      asked(
        R.DeleteStateRequestSchema,
        (message) => void (message.etag = undefined),
      )(
        asked(R.ExecuteStateTransactionRequestSchema, ({ operations }) => {
          for (const { request } of operations) if (request?.etag?.value === "0") request.etag = undefined;
        })(transport),
      ),
    told: ["state-delete-no-etag", "state-transaction-delete", "state-delete-conflict"],
  },
  {
    name: "forgets the condition of a write",
    tamper: asked(R.SaveStateRequestSchema, ({ states }) => {
      for (const state of states) state.etag = undefined;
    }),
    told: ["state-conflict", "state-update"],
  },
  {
    name: "has a bulk answer by position",
    tamper: answered(R.GetBulkStateResponseSchema, ({ items }, _, request) => {
      const { keys } = request as { keys: string[] };
      for (const [i, item] of items.entries()) item.key = keys[i] ?? item.key;
    }),
    told: ["bulk-order", "bulk-duplicates", "bulk-duplicates-once"],
  },
  {
    name: "drops what failed of a bulk answer",
    tamper: answered(R.GetBulkStateResponseSchema, ({ items }) => {
      for (const item of items) item.error = "";
    }),
    told: ["bulk-errors", "bulk-odd-keys"],
  },
  {
    name: "takes empty items of a bulk answer for missing",
    tamper: answered(R.GetBulkStateResponseSchema, ({ items }) => {
      for (const item of items) if (item.data.length === 0) item.etag = "";
    }),
    told: ["bulk-missing"],
  },
  {
    name: "has 53 bits for ids",
    tamper: answered(R.GetNextIdResponseSchema, (message) => void (message.nextId = lossy(message.nextId))),
    told: ["ids-large"],
  },
  {
    name: "has 53 bits for versions",
    tamper: (transport) =>
      answered(
        PutResponseSchema,
        (message) => void (message.version = lossy(message.version)),
      )(
        answered(GetResponseSchema, ({ value }) => {
          if (value) value.version = lossy(value.version);
        })(transport),
      ),
    told: ["map-put", "map-version-large"],
  },
  {
    name: "has 53 bits for offsets",
    tamper: answered(LogRecordSchema, (message) => void (message.offset = lossy(message.offset))),
    told: ["read-large-offset"],
  },
];
