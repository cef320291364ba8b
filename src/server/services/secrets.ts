import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { quote } from "../../lib/quote.js";
import { withCallId } from "../calls/log.js";
import { secretsIn } from "../config/secrets-file.js";
import type { Logger, ServiceContext } from "../context.js";
import { notFound, unavailable } from "../errors.js";

/** The secrets that clients may read. An error does not distinguish a hidden secret from a missing one. */
interface VisibleSecrets {
  get(name: string): string | undefined;
  names(): string[];
}

/** How long clients should wait before they try an unreadable file again. */
const RETRY_AFTER_MS = 1000;

/** The secret RPCs. A secret's value is only ever in the response: never in an error or a log. */
export function secretsService(
  context: ServiceContext,
): Pick<ServiceImpl<typeof Runtime>, "getSecret" | "getBulkSecret"> {
  const { components, platform } = context;
  const files = new Map<string, SecretFile>();

  /** Reads the file for each call, but parses it only if it has changed. */
  const fromFile = async (store: string, path: string, log: Logger): Promise<VisibleSecrets> => {
    const unreadable = (why: string, fields: object) => {
      log.error({ store, path, why, ...fields }, "cannot read a secret store's file");
      return unavailable(`secret store ${quote(store)} cannot be read`, { retryAfterMs: RETRY_AFTER_MS });
    };
    let text: string;
    try {
      text = await platform.readFile(path);
    } catch (error) {
      throw unreadable("it cannot be opened", { err: error });
    }
    const known = files.get(path);
    if (known?.text === text) return visible(known.secrets);
    const secrets = secretsIn(text);
    // The parser's error is not passed on, as it quotes the text, which may be a secret.
    if (!secrets) throw unreadable("it is not a JSON object", {});
    files.set(path, { text, secrets });
    return visible(secrets);
  };

  const open = async (name: string, call: HandlerContext): Promise<VisibleSecrets> => {
    const store = components.get("secrets", name);
    switch (store.type) {
      case "env":
        return fromEnv(platform.env, store.allow);
      case "file":
        return fromFile(name, store.path, withCallId(context, call).log);
      case "values":
        return visible(new Map(Object.entries(store.values)));
    }
  };

  return {
    async getSecret({ storeName, key }, call) {
      const value = (await open(storeName, call)).get(key);
      if (value === undefined) throw notFound("secret", key);
      return { data: { [key]: value } };
    },

    async getBulkSecret({ storeName }, call) {
      const store = await open(storeName, call);
      const secrets = store.names().map((name) => [name, { secrets: { [name]: store.get(name) ?? "" } }]);
      return { data: Object.fromEntries(secrets) };
    },
  };
}

interface SecretFile {
  text: string;
  secrets: ReadonlyMap<string, string>;
}

const visible = (secrets: ReadonlyMap<string, string>): VisibleSecrets => ({
  get: (name) => secrets.get(name),
  names: () => [...secrets.keys()],
});

function fromEnv(
  env: Readonly<Record<string, string | undefined>>,
  allow: readonly string[],
): VisibleSecrets {
  const allowed = (name: string) =>
    Object.hasOwn(env, name) &&
    allow.some((rule) => (rule.endsWith("*") ? name.startsWith(rule.slice(0, -1)) : name === rule));
  return {
    get: (name) => (allowed(name) ? env[name] : undefined),
    names: () => Object.keys(env).filter((name) => allowed(name) && env[name] !== undefined),
  };
}
