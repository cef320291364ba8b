import { FolderError } from "./errors.js";
import { isNotInstalled, STORE_PACKAGE } from "./store-installed.js";

/**
 * Loads the package that the disk engine needs. Fails with a FolderError if it is not installed. Public types must not
 * refer to this file: its type needs the package.
 */
export async function loadStore(): Promise<typeof import("classic-level")> {
  return import("classic-level").catch((error: unknown) => {
    if (!isNotInstalled(error)) throw error;
    const command = `npm install ${STORE_PACKAGE}`;
    throw new FolderError(`A data folder needs a package that is not installed: ${command}`, error);
  });
}
