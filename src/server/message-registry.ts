import { createRegistry, type DescFile, type Registry } from "@bufbuild/protobuf";
import * as wkt from "@bufbuild/protobuf/wkt";
import { file_atomix_log_log } from "../../gen/atomix/log/log_pb.js";
import { file_atomix_map_map } from "../../gen/atomix/map/map_pb.js";
import { file_atomix_pb_map_map } from "../../gen/atomix/pb/map/map_pb.js";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.js";
import { file_grpc_health_v1_health } from "../../gen/grpc/health/v1/health_pb.js";
import { file_grpc_reflection_v1_reflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { file_grpc_reflection_v1alpha_reflection } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { file_spec_proto_runtime_v1_appcallback } from "../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { file_spec_proto_runtime_v1_lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { file_spec_proto_runtime_v1_runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";

/** The proto files of the API and all their imports, with `google.rpc` and the well-known types. */
export const protoFiles: readonly DescFile[] = withImports([
  file_spec_proto_runtime_v1_runtime,
  file_spec_proto_runtime_v1_lifecycle,
  file_spec_proto_runtime_v1_appcallback,
  file_atomix_log_log,
  file_atomix_map_map,
  file_atomix_pb_map_map,
  file_google_rpc_error_details,
  file_grpc_health_v1_health,
  file_grpc_reflection_v1_reflection,
  file_grpc_reflection_v1alpha_reflection,
  wkt.file_google_protobuf_any,
  wkt.file_google_protobuf_duration,
  wkt.file_google_protobuf_empty,
  wkt.file_google_protobuf_field_mask,
  wkt.file_google_protobuf_struct,
  wkt.file_google_protobuf_timestamp,
  wkt.file_google_protobuf_wrappers,
]);

/** All types of these files: those that an Any in JSON may hold, and that reflection serves. */
export const protoRegistry: Registry = createRegistry(...protoFiles);

/** `files` and their imports, each once and after its own imports. */
function withImports(files: readonly DescFile[]): DescFile[] {
  const all = new Set<DescFile>();
  const add = (file: DescFile) => {
    if (all.has(file)) return;
    file.dependencies.forEach(add);
    all.add(file);
  };
  files.forEach(add);
  return [...all];
}
