import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  Health,
  type HealthCheckResponse_ServingStatus as Status,
} from "../../../gen/grpc/health/v1/health_pb.js";

/** How long the answer to the check of a server may take, in milliseconds. */
const CHECK_MS = 3000;

// The enum itself would be loaded by every page, with the code that it shares with lazy-chunk.ts.
const UNKNOWN: Status = 0;
const NOT_SERVING: Status = 2;

/** Rejects if the server does not answer, or says that it does not serve. Any other answer shows that it is there. */
export async function checkHealth(transport: Transport): Promise<void> {
  const client = createClient(Health, transport);
  const { status } = await client.check({}, { timeoutMs: CHECK_MS }).catch(statusOfRefusal);
  if (status === NOT_SERVING) throw new ConnectError("it does not serve now", Code.Unavailable);
}

/** Servers without a health service, or that do not let this client ask, may well serve. */
function statusOfRefusal(error: unknown): { status: Status } {
  const { code } = ConnectError.from(error);
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) throw error;
  return { status: UNKNOWN };
}
