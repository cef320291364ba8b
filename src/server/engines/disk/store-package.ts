import { FolderError } from "./faults.js";
import { isMissing, STORE_COMMAND } from "./store-installed.js";

/** The package that the disk engine needs. */
export async function loadStore(): Promise<typeof import("classic-level")> {
  return import("classic-level").catch((error: unknown) => {
    if (!isMissing(error)) throw error;
    throw new FolderError(`A data folder needs a package that is not installed: ${STORE_COMMAND}`, error);
  });
}
