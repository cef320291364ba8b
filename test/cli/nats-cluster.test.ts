import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { locationText } from "../../src/cli/data-location.js";
import { parseSettings } from "../../src/cli/environment.js";
import { clusterOf, openCluster } from "../../src/cli/nats-cluster.js";
import { SERVE_OPTIONS } from "../../src/cli/serve-options.js";
import { ca, cert, key, renewed } from "../support/certificates.js";

vi.mock("../../src/server/jetstream.js", () => ({ openJetStreamEngine: vi.fn() }));

const CREDENTIALS = `-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QifQ.e30.c2ln
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4
------END USER NKEY SEED------
`;

let folder: string;
const path = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  const files = {
    creds: CREDENTIALS,
    "ca.pem": ca,
    "cert.pem": cert,
    "key.pem": key,
    "other.pem": renewed.key,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(path(name), text);
});

afterAll(() => rm(folder, { recursive: true }));

const cluster = (args: string[], env = {}) => clusterOf(parseSettings(args, SERVE_OPTIONS, env));

test("--jetstream names the cluster; without it there is none", async () => {
  assert.equal(await cluster([]), undefined);
  const given = await cluster(["--jetstream", "nats://a:4222, nats://b,"]).catch((error: unknown) => error);
  assert.match(String(given), /--jetstream must be URLs of NATS, like .*, got ""/);
  const defaults = await cluster(["--jetstream", "nats://a:4222,nats://b/"]);
  assert.deepEqual(defaults, { servers: ["nats://a:4222", "nats://b"], name: "fairlead", replicas: 3 });
  assert.equal(
    defaults && locationText({ type: "jetstream", cluster: defaults }),
    'jetstream, "fairlead" with 3 replicas at nats://a:4222, nats://b',
  );
});

test("the environment names the cluster too, with the text of its credentials and the files of TLS", async () => {
  const env = {
    FAIRLEAD_JETSTREAM: "tls://a",
    FAIRLEAD_REPLICAS: "1",
    FAIRLEAD_JETSTREAM_NAME: "shop",
    FAIRLEAD_CREDS: path("creds"),
    FAIRLEAD_NATS_CA: path("ca.pem"),
    FAIRLEAD_NATS_KEY: path("key.pem"),
    FAIRLEAD_NATS_CERT: path("cert.pem"),
  };
  assert.deepEqual(await cluster([], env), {
    servers: ["tls://a"],
    name: "shop",
    replicas: 1,
    credentials: CREDENTIALS,
    tls: { caFile: path("ca.pem"), keyFile: path("key.pem"), certFile: path("cert.pem") },
  });
});

test("a user or a token in the URLs is not printed", async () => {
  const given = await cluster(["--jetstream", "nats://ada:secret@a:4222,tls://token@b"]);
  assert.deepEqual(given?.servers, ["nats://ada:secret@a:4222", "tls://token@b"]);
  assert.equal(
    given && locationText({ type: "jetstream", cluster: given }),
    'jetstream, "fairlead" with 3 replicas at nats://a:4222, tls://b',
  );
});

const on = ["--jetstream", "nats://a"];

test.each<[args: string[], why: string]>([
  [["--jetstream", "http://a"], 'nats://b:4222, got "http://a"'],
  [["--jetstream", "nats://a/x"], 'got "nats://a/x"'],
  [["--jetstream", "http://ada:secret@a"], 'got "http://a"'],
  [["--replicas", "3"], "--replicas needs --jetstream or --election"],
  [["--jetstream-name", "x"], "--jetstream-name needs --jetstream or --election"],
  [[...on, "--replicas", "2"], '--replicas must be one of 1, 3, 5, got "2"'],
  [[...on, "--creds", "/no/such"], '--creds "/no/such": there is no such file or folder'],
  [
    [...on, "--creds", "ca.pem"],
    "is not a credentials file: it needs a NATS user JWT and the seed of its nkey",
  ],
  [[...on, "--nats-ca", "/no/such"], '--nats-ca "/no/such": there is no such file or folder'],
  [[...on, "--nats-key", "key.pem"], "--nats-cert is missing beside --nats-key"],
  [[...on, "--nats-cert", "cert.pem"], "--nats-key is missing beside --nats-cert"],
  [
    [...on, "--nats-cert", "cert.pem", "--nats-key", "other.pem"],
    "--nats-key, --nats-cert: not PEM that fits together",
  ],
])("%j is refused in words", async (args, why) => {
  const inFolder = args.map((arg) => (/^\w+\.pem$/.test(arg) ? path(arg) : arg));
  const { message } = (await cluster(inFolder).catch((error: unknown) => error)) as Error;
  expect(message).toContain(why);
  expect(message).not.toContain("secret");
});

test("a wrong value of a variable is refused by the variable's name", async () => {
  await assert.rejects(
    cluster([], { FAIRLEAD_REPLICAS: "1" }),
    /^Error: FAIRLEAD_REPLICAS needs --jetstream or --election$/,
  );
  await assert.rejects(
    cluster(on, { FAIRLEAD_REPLICAS: "two" }),
    /^Error: FAIRLEAD_REPLICAS must be one of 1, 3, 5, got "two"$/,
  );
  await assert.rejects(
    cluster([], { FAIRLEAD_JETSTREAM: "a" }),
    /^Error: FAIRLEAD_JETSTREAM must be URLs of NATS/,
  );
});

test("without NATS's packages the error has the command that installs them", async () => {
  const missing = (name: string) =>
    Object.assign(new Error(`Cannot find package '${name}' imported from /x.js`), {
      code: "ERR_MODULE_NOT_FOUND",
    });
  const given = { servers: ["nats://a"], name: "fairlead", replicas: 3 };
  const { openJetStreamEngine } = await import("../../src/server/jetstream.js");
  vi.mocked(openJetStreamEngine).mockRejectedValueOnce(missing("@nats-io/jetstream"));
  await assert.rejects(
    openCluster(given, {}),
    new Error(
      "--jetstream needs packages that are not installed: npm install @nats-io/transport-node@3 @nats-io/jetstream@3",
    ),
  );
  vi.mocked(openJetStreamEngine).mockRejectedValueOnce(missing("other"));
  await assert.rejects(openCluster(given, {}), /Cannot find package 'other'/);
});

test("--election names a cluster that has no data, beside --data or --memory", async () => {
  const elects = (args: string[]) => clusterOf(parseSettings(args, SERVE_OPTIONS, {}), "election");
  assert.equal(await elects([]), undefined);
  const given = ["--election", "nats://a", "--memory", "--replicas", "1"];
  assert.deepEqual(await elects(given), { servers: ["nats://a"], name: "fairlead", replicas: 1 });
  assert.equal(await cluster(given), undefined, "the data is not there");
  await assert.rejects(
    elects(["--election", "http://a"]),
    /--election must be URLs of NATS, like .*, got "http:\/\/a"/,
  );
  await assert.rejects(
    cluster([...on, "--election", "nats://a"]),
    /^Error: --election needs --data or --memory: with --jetstream all servers have the same data$/,
  );
});
