import type { Option } from "./command-line.js";

/** An option with the text of its help. */
interface DescribedOption extends Option {
  /** The placeholder of its value in the help. Default: its default. */
  placeholder?: string;
  description: string;
}

/** The options of `fairlead serve`, in the order of its help. Each can also be set by its environment variable. */
export const SERVE_OPTIONS = {
  host: {
    type: "string",
    default: "127.0.0.1",
    description:
      'the address to listen on; if it is not loopback, the file needs "access", or use --insecure',
  },
  port: { type: "string", default: "34904", description: "the port; 0 takes any free one" },
  config: {
    type: "string",
    placeholder: "FILE",
    description: "the components file; default: ./fairlead.json, if there is one",
  },
  data: {
    type: "string",
    placeholder: "fairlead-data",
    description: "the folder for all data; acknowledged writes are on disk; needs classic-level",
  },
  memory: {
    type: "boolean",
    description: "keeps data in memory only: all of it is lost when the server ends",
  },
  jetstream: {
    type: "string",
    placeholder: "URLS",
    description:
      "keeps data in this NATS cluster: nats://a:4222,nats://b:4222, or tls://; see docs/deploy.md",
  },
  election: {
    type: "string",
    placeholder: "URLS",
    description:
      "servers with data of their own elect the primaries of maps in this NATS cluster; see docs/primitives/map.md",
  },
  replicas: {
    type: "string",
    default: "3",
    description: "how many nodes of the NATS cluster have all data: 1, 3 or 5",
  },
  creds: { type: "string", placeholder: "FILE", description: "the credentials file for NATS" },
  "nats-ca": {
    type: "string",
    placeholder: "FILE",
    description: "the certificates of the authorities that NATS is trusted by, PEM; default: those of Node",
  },
  "nats-key": { type: "string", placeholder: "FILE", description: "the private key for NATS, PEM" },
  "nats-cert": { type: "string", placeholder: "FILE", description: "and its certificate, PEM" },
  "jetstream-name": {
    type: "string",
    default: "fairlead",
    description: "the first part of all names in NATS: servers with the same name share all data",
  },
  "tls-key": {
    type: "string",
    placeholder: "FILE",
    description: "the private key, PEM: with --tls-cert the port speaks TLS only",
  },
  "tls-cert": {
    type: "string",
    placeholder: "FILE",
    description: "the certificate, PEM; both files are read again when they change, and on SIGHUP",
  },
  drain: {
    type: "string",
    default: "0",
    description: "seconds after SIGTERM in which /readyz is 503 and calls are still accepted",
  },
  grace: { type: "string", default: "5", description: "seconds after that for open calls to finish" },
  insecure: {
    type: "boolean",
    description: 'allows --host other than loopback without "access": everyone may call',
  },
  "log-level": {
    type: "string",
    default: "info",
    description: "the lowest level that is logged: debug, info, warn or error",
  },
  otlp: {
    type: "string",
    placeholder: "URL",
    description: "exports traces and metrics by OTLP, to a collector such as http://localhost:4318",
  },
  conformance: {
    type: "boolean",
    description: "adds the components of the conformance suite, see docs/conformance.md; not for production",
  },
} as const satisfies Readonly<Record<string, DescribedOption>>;

/** The rows of a command's help: each option with its placeholder, and its description. */
export const optionRows = (options: Readonly<Record<string, DescribedOption>>): [string, string][] =>
  Object.entries(options).map(([name, { placeholder, default: value, description }]) => {
    const argument = placeholder ?? value;
    return [`--${name}${argument === undefined ? "" : ` ${argument}`}`, description];
  });
