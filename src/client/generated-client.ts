import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { withErrorMapping } from "../rpc/with-error-mapping.js";
import { normalizeError } from "./normalize-error.js";

/** The generated client of `service` for the facades, whose errors are those of the error table on every transport. */
export function generatedClient<S extends DescService>(service: S, transport: Transport): Client<S> {
  return createClient(service, withErrorMapping(transport, normalizeError));
}
