import type { Retention } from "../../engine.js";
import type { WriteOp } from "./store.js";
import type { Tree } from "./tree.js";

/** The settings of a log, as stored in the tree. */
export type LogSettings = {
  /** The name of the log's folder. */
  id: string;
  /** The offset of the oldest retained record. */
  first: number;
  retention: Retention | undefined;
  /** The offset of the next record when this was written. */
  next?: number;
};

/** The prefix of the logs' keys in the tree. */
const LOGS = "l";

/** The settings of the log `name`; undefined if there is no such log. */
export function loadLogSettings(tree: Tree, name: string): LogSettings | undefined {
  const bytes = tree.get(LOGS + name);
  return bytes && decode(bytes);
}

/** The write that stores the settings of the log `name`. */
export const logSettingsOp = (name: string, settings: LogSettings): WriteOp => ({
  key: LOGS + name,
  value: Buffer.from(JSON.stringify(settings)),
});

/** Every log of the tree. */
export async function* listLogs(
  tree: Pick<Tree, "all">,
): AsyncGenerator<{ name: string; settings: LogSettings }, void, undefined> {
  for await (const { key, value } of tree.all(LOGS)) {
    yield { name: key.slice(LOGS.length), settings: decode(value) };
  }
}

const decode = (bytes: Buffer): LogSettings => JSON.parse(bytes.toString()) as LogSettings;
