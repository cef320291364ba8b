import { ConsumeRequestSchema, LogRecordSchema } from "../../../gen/atomix/log/log_pb.js";
import {
  GetRequestSchema,
  GetResponseSchema,
  PutRequestSchema,
  RemoveRequestSchema,
  RemoveResponseSchema,
  ValueSchema,
} from "../../../gen/atomix/pb/map/map_pb.js";
import type { Mutant } from "../mutants.js";
import { answered, asked } from "../tamper.js";

/** Clients that go wrong about maps and logs. */
export const mapsMutants: readonly Mutant[] = [
  {
    name: "takes the partition 1 for every key",
    tamper: asked(GetRequestSchema, ({ header }) => {
      if (header) header.partition = 1;
    }),
    told: ["map-partition"],
  },
  {
    name: "forgets the version that it has to find",
    tamper: (transport) =>
      asked(PutRequestSchema, ({ value }) => {
        if (value) value.version = 0n;
      })(
        asked(RemoveRequestSchema, ({ value }) => {
          if (value) value.version = 0n;
        })(transport),
      ),
    told: ["map-conflict", "map-remove-conflict-atomix"],
  },
  {
    name: "takes no entry for an empty one",
    tamper: (transport) =>
      answered(GetResponseSchema, (message) => {
        message.value ??= { $typeName: ValueSchema.typeName, value: new Uint8Array(), version: 0n };
      })(
        answered(RemoveResponseSchema, (message) => {
          message.value ??= { $typeName: ValueSchema.typeName, value: new Uint8Array(), version: 0n };
        })(transport),
      ),
    told: ["map-missing", "map-partition", "map-removed-nothing"],
  },
  {
    name: "takes an empty entry for none",
    tamper: answered(GetResponseSchema, (message) => {
      if (message.value?.value.length === 0) message.value = undefined;
    }),
    told: ["map-empty"],
  },
  {
    name: "reads a log from its begin after each break",
    tamper: asked(ConsumeRequestSchema, (message) => void (message.offset = 0n)),
    told: ["read-breaks", "read-ends", "read-large-offset"],
  },
  {
    name: "takes nanoseconds for milliseconds",
    tamper: answered(LogRecordSchema, (message) => void (message.timestamp /= 1_000_000n)),
    told: ["read-records", "read-skips-forward", "read-too-early", "read-repeats"],
  },
];
