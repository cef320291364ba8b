// In a clone, `npx fairlead` shall find what `npm run build` made: npm links the commands of dependencies only.
import { chmodSync, mkdirSync, rmSync, symlinkSync } from "node:fs";

if (process.platform !== "win32") {
  const root = new URL("../", import.meta.url);
  const link = new URL("node_modules/.bin/fairlead", root);
  mkdirSync(new URL(".", link), { recursive: true });
  chmodSync(new URL("dist/src/cli/main.js", root), 0o755);
  rmSync(link, { force: true });
  symlinkSync("../../dist/src/cli/main.js", link);
}
