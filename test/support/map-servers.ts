import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient, createRouterTransport, type Transport } from "@connectrpc/connect";
import { ResponseStatus } from "../../gen/atomix/pb/headers/headers_pb.js";
import { type BackupRequest, type EntrySchema, MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { createMap, type VersionedMap } from "../../src/client/map.js";
import { asyncDispose } from "../../src/lib/dispose.js";
import type { ConfigInput } from "../../src/server/config/config.js";
import type { Logger } from "../../src/server/context.js";
import type { Engine } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer, type Server } from "../../src/server/server.js";
import { decodeEntry } from "../../src/server/services/map/entry.js";

/** The configuration of the protocol group of these maps. */
export type Group = NonNullable<ConfigInput["maps"]>[string];

export interface MapServer extends AsyncDisposable {
  engine: Engine;
  server: Server;
  map: VersionedMap<number>;
  wire: Client<typeof MapService>;
  /** The warnings and errors that it has logged so far. */
  logged: string[];
  url: string;
  port: number;
  close(): Promise<void>;
}

/** `engine`, which stays open when its server closes, so that another server can use it. */
export function lasting(engine = memoryEngine()): Engine {
  return { ...engine, close: async () => {}, [asyncDispose]: async () => {} };
}

/** A server with `group` in this process. `dial` makes the transports to its backups. */
export function serveHere(
  group: Group | undefined,
  {
    engine = lasting(),
    dial = (url) => nodePlatform.dial(url, "grpc"),
  }: { engine?: Engine; dial?: (url: string) => Transport } = {},
): MapServer {
  const logged: string[] = [];
  const told = (fields: object, message: string) =>
    logged.push(`${message} ${"why" in fields ? fields.why : ""}`);
  const log: Logger = { debug() {}, info: told, warn: told, error: told };
  const config = group ? { maps: { "/default": group } } : {};
  const server = createServer({ engine, config, log, platform: { ...nodePlatform, dial } });
  const transport = server.transport();
  const map = createMap<number>(transport, "m");
  const wire = createClient(MapService, transport);
  const { close } = server;
  return { engine, server, map, wire, logged, url: "", port: 0, close, [asyncDispose]: close };
}

/** A server with `group` on a port: a free one, or the given one to restart a server. */
export async function serve(
  group: Group,
  { port = 0, ...rest }: Parameters<typeof serveHere>[1] & { port?: number } = {},
): Promise<MapServer> {
  // A busy machine must not let a backup fall out of sync.
  const here = serveHere({ ackTimeoutMs: 15_000, ...group }, rest);
  const listening = await listen(here.server, { port });
  return { ...here, ...listening };
}

/** The request header of `map`. */
export const header = {
  protocol: { namespace: "", name: "default" },
  primitive: { namespace: "", name: "m" },
  partition: 1,
};

/** An entry on the wire; no value deletes. */
export function entryOf(
  key: string,
  [term, timestamp]: [number, number],
  value?: number,
): MessageInitShape<typeof EntrySchema> {
  const version = BigInt(timestamp);
  return {
    key,
    digest: { term: BigInt(term), timestamp: version },
    ...(value !== undefined && { value: { value: new TextEncoder().encode(String(value)), version } }),
  };
}

/** All stored entries of the map: "key=value@version", or "key-" for a tombstone. */
export async function contents({ keys }: Engine): Promise<string[]> {
  const all: string[] = [];
  for await (const { value: stored } of keys.list("map\0entry\0")) {
    const { key, value } = decodeEntry(stored);
    all.push(value ? `${key}=${new TextDecoder().decode(value.value)}@${value.version}` : `${key}-`);
  }
  return all;
}

/** The entries that a reader gets: contents() without tombstones. */
export const live = async (engine: Engine): Promise<string[]> =>
  (await contents(engine)).filter((entry) => !entry.endsWith("-"));

/** A backup that responds with the result of `answer`, and records its requests. */
export function fakeBackup(
  answer: (request: BackupRequest) => Promise<ResponseStatus> = async () => ResponseStatus.OK,
) {
  const requests: BackupRequest[] = [];
  let streams = 0;
  const transport = createRouterTransport(({ service }) =>
    service(MapService, {
      async *backup(incoming) {
        streams++;
        for await (const request of incoming) {
          requests.push(request);
          yield { header: { status: await answer(request) } };
        }
      },
    }),
  );
  return { transport, requests, streams: () => streams };
}
