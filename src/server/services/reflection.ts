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

type Asked = ServerReflectionRequest["messageRequest"];

/** ServerReflection, of both versions, whose messages are the same: the schema of `services` out of `files`. */
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

  function answer(asked: Asked, sent: Set<DescFile>) {
    switch (asked.case) {
      case "listServices": {
        const service = [...services].sort().map((name) => ({ name }));
        return { case: "listServicesResponse" as const, value: { service } };
      }
      case "fileByFilename":
        return withImports(schema.byPath.get(asked.value), `file ${quote(asked.value)}`, sent);
      case "fileContainingSymbol":
        return withImports(schema.bySymbol.get(asked.value), `symbol ${quote(asked.value)}`, sent);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = asked.value;
        const extensions = schema.extensionsOf.get(containingType);
        const extension = extensions?.find(({ number }) => number === extensionNumber);
        return withImports(extension?.file, `extension ${extensionNumber} of ${quote(containingType)}`, sent);
      }
      case "allExtensionNumbersOfType": {
        if (!schema.types.getMessage(asked.value))
          return refusal(Code.NotFound, `no message ${quote(asked.value)}`);
        const extensionNumber = (schema.extensionsOf.get(asked.value) ?? []).map(({ number }) => number);
        const value = { baseTypeName: asked.value, extensionNumber };
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

/** `file`, in any case, and those that it imports and that are not in `sent`. */
function withImports(file: DescFile | undefined, what: string, sent: Set<DescFile>) {
  if (!file) return refusal(Code.NotFound, `no ${what}`);
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

/** Where everything that has a name is declared. */
function indexOf(files: readonly DescFile[]) {
  const types: Registry = createRegistry(...files);
  const byPath = new Map<string, DescFile>();
  const bySymbol = new Map<string, DescFile>();
  const extensionsOf = new Map<string, DescExtension[]>();
  for (const file of files) byPath.set(`${file.name}.proto`, file);
  for (const type of types) {
    bySymbol.set(type.typeName, type.file);
    const within = (name: string) => bySymbol.set(`${type.typeName}.${name}`, type.file);
    if (type.kind === "message") {
      for (const { name } of [...type.fields, ...type.oneofs]) within(name);
    } else if (type.kind === "service") {
      for (const { name } of type.methods) within(name);
    } else if (type.kind === "enum") {
      // A value's full name is beside its enum's, not in it.
      const scope = type.typeName.slice(0, -type.name.length);
      for (const { name } of type.values) bySymbol.set(scope + name, type.file);
    } else {
      const { typeName } = type.extendee;
      extensionsOf.set(typeName, [...(extensionsOf.get(typeName) ?? []), type]);
    }
  }
  return { types, byPath, bySymbol, extensionsOf };
}
