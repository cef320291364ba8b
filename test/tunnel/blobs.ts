import { create, createFileRegistry } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import {
  type BytesValueSchema,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt";

type Bytes<Kind extends string> = {
  methodKind: Kind;
  input: typeof BytesValueSchema;
  output: typeof BytesValueSchema;
};

const type = ".google.protobuf.BytesValue";
const method = (name: string, clientStreaming: boolean, serverStreaming: boolean) => ({
  name,
  inputType: type,
  outputType: type,
  clientStreaming,
  serverStreaming,
});

/** A service with a method of each kind, whose messages are bytes. */
export const Blobs = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      file_google_protobuf_wrappers.proto,
      create(FileDescriptorProtoSchema, {
        name: "blobs.proto",
        package: "test",
        dependency: ["google/protobuf/wrappers.proto"],
        service: [
          {
            name: "Blobs",
            method: [
              method("Unary", false, false),
              method("Server", false, true),
              method("Client", true, false),
              method("Bidi", true, true),
            ],
          },
        ],
        syntax: "proto3",
      }),
    ],
  }),
).getService("test.Blobs") as GenService<{
  unary: Bytes<"unary">;
  server: Bytes<"server_streaming">;
  client: Bytes<"client_streaming">;
  bidi: Bytes<"bidi_streaming">;
}>;
