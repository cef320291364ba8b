import {
  createRegistry,
  type DescExtension,
  type DescFile,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import type {
  ServerReflection,
  ServerReflectionRequest,
} from "../../../gen/grpc/reflection/v1/reflection_pb.js";
import { quote } from "../../lib/quote.js";

type MessageRequest = ServerReflectionRequest["messageRequest"];

/** ServerReflection: the schema of `services`, from `files`. Both versions of the service have the same messages. */
export function reflectionService(
  services: readonly string[],
  files: readonly DescFile[],
): ServiceImpl<typeof ServerReflection> {
  const schema = indexOf(files);
  return {
    async *serverReflectionInfo(requests) {
      const sent = new Set<DescFile>();
      for await (const request of requests) {
        const messageResponse = answer(request.messageRequest, sent);
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  };

  function answer(request: MessageRequest, sent: Set<DescFile>) {
    switch (request.case) {
      case "listServices": {
        const service = [...services].sort().map((name) => ({ name }));
        return { case: "listServicesResponse" as const, value: { service } };
      }
      case "fileByFilename":
        return withImports(schema.byPath.get(request.value), `file ${quote(request.value)}`, sent);
      case "fileContainingSymbol":
        return withImports(schema.bySymbol.get(request.value), `symbol ${quote(request.value)}`, sent);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = request.value;
        const extensions = schema.extensionsOf.get(containingType);
        const extension = extensions?.find(({ number }) => number === extensionNumber);
        return withImports(extension?.file, `extension ${extensionNumber} of ${quote(containingType)}`, sent);
      }
      case "allExtensionNumbersOfType": {
        if (!schema.types.getMessage(request.value))
          return refusal(Code.NotFound, `no message ${quote(request.value)}`);
        const extensionNumber = (schema.extensionsOf.get(request.value) ?? []).map(({ number }) => number);
        const value = { baseTypeName: request.value, extensionNumber };
        return { case: "allExtensionNumbersResponse" as const, value };
      }
      default:
        return refusal(Code.InvalidArgument, "message_request must be set");
    }
  }
}

const refusal = (errorCode: Code, errorMessage: string) => ({
  case: "errorResponse" as const,
  value: { errorCode, errorMessage },
});

/** `file`, and those of its imports that are not in `sent`. */
function withImports(file: DescFile | undefined, label: string, sent: Set<DescFile>) {
  if (!file) return refusal(Code.NotFound, `no ${label}`);
  sent.delete(file);
  const fileDescriptorProto: Uint8Array[] = [];
  const send = (each: DescFile) => {
    if (sent.has(each)) return;
    sent.add(each);
    fileDescriptorProto.push(toBinary(FileDescriptorProtoSchema, each.proto));
    each.dependencies.forEach(send);
  };
  send(file);
  return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto } };
}

/** An index of all declarations by their name. */
function indexOf(files: readonly DescFile[]) {
  const types: Registry = createRegistry(...files);
  const byPath = new Map<string, DescFile>();
  const bySymbol = new Map<string, DescFile>();
  const extensionsOf = new Map<string, DescExtension[]>();
  for (const file of files) byPath.set(`${file.name}.proto`, file);
  for (const type of types) {
    bySymbol.set(type.typeName, type.file);
    const addMember = (name: string) => bySymbol.set(`${type.typeName}.${name}`, type.file);
    if (type.kind === "message") {
      for (const { name } of [...type.fields, ...type.oneofs]) addMember(name);
    } else if (type.kind === "service") {
      for (const { name } of type.methods) addMember(name);
    } else if (type.kind === "enum") {
      // The full name of an enum's value has the scope of the enum, not the enum itself.
      const scope = type.typeName.slice(0, -type.name.length);
      for (const { name } of type.values) bySymbol.set(scope + name, type.file);
    } else {
      const { typeName } = type.extendee;
      extensionsOf.set(typeName, [...(extensionsOf.get(typeName) ?? []), type]);
    }
  }
  return { types, byPath, bySymbol, extensionsOf };
}
