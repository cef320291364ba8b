import * as R from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { Mutant } from "../mutants.js";
import { answered, asked, LOST } from "../tamper.js";

/** Clients that go wrong about files. */
export const filesMutants: readonly Mutant[] = [
  {
    name: "reads the first nineteen characters of a time",
    tamper: answered(R.GetFileMetaResponseSchema, (message) => {
      message.lastModified = `${message.lastModified.slice(0, 19)}Z`;
    }),
    told: ["time-rfc3339", "time-go", "time-go-zone", "time-go-seconds"],
  },
  {
    name: "takes an unknown time for now",
    tamper: answered(R.GetFileMetaResponseSchema, (message) => {
      if (Number.isNaN(Date.parse(message.lastModified))) message.lastModified = new Date().toISOString();
    }),
    told: ["time-unreadable", "time-none"],
  },
  {
    name: "has 32 bits for sizes",
    tamper: answered(
      R.GetFileMetaResponseSchema,
      (message) => void (message.size = BigInt.asUintN(32, message.size)),
    ),
    told: ["time-rfc3339"],
  },
  {
    name: "lists from the last name instead of the marker",
    tamper: answered(
      R.ListFileRespSchema,
      (message) => void (message.marker = message.files.at(-1)?.fileName ?? ""),
    ),
    told: ["list-pages", "list-empty-page"],
  },
  {
    name: "lists on wherever there is a marker",
    tamper: answered(R.ListFileRespSchema, (message) => void (message.isTruncated = message.marker !== "")),
    told: ["list-no-more"],
  },
  {
    name: "lists without end",
    tamper: (transport) => {
      let page = 0;
      return answered(R.ListFileRespSchema, (message) => {
        if (message.isTruncated) message.marker = `${message.marker}${page++}`;
      })(transport);
    },
    told: ["list-stuck"],
  },
  {
    name: "takes folders for files",
    tamper: answered(R.GetFileMetaResponseSchema, (message) => void (message.response = undefined)),
    told: ["list-folder"],
  },
  {
    name: "lists the first page only",
    tamper: answered(R.ListFileRespSchema, (message) => void (message.isTruncated = false)),
    told: ["list-pages", "list-empty-page", "list-breaks", "list-stuck"],
  },
  {
    name: "sends no metadata with a file",
    tamper: asked(R.PutFileRequestSchema, (message) => void (message.metadata = {})),
    told: ["put-first-message"],
  },
  {
    name: "sends no message of an empty file",
    tamper: asked(R.PutFileRequestSchema, ({ data }) => (data.length === 0 ? LOST : undefined)),
    told: ["put-empty", "put-first-message"],
  },
];
