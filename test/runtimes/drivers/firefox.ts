import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Launch } from "./browser.js";
import { start } from "./child.js";

/** Nothing but the page: no first steps, no reports, no updates. */
const SETTINGS = {
  "browser.aboutwelcome.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.homepage_override.mstone": "ignore",
  "datareporting.policy.dataSubmissionEnabled": false,
  "toolkit.telemetry.reportingpolicy.firstRun": false,
  "app.normandy.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
};

export const inFirefox =
  (program: string): Launch =>
  (url, folder) => {
    const lines = Object.entries(SETTINGS).map(
      (each) => `user_pref(${each.map((x) => JSON.stringify(x)).join()});`,
    );
    writeFileSync(join(folder, "user.js"), lines.join("\n"));
    return start(program, ["--headless", "--no-remote", "--profile", folder, url]);
  };
