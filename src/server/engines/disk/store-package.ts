import { FolderError } from "./errors.js";

/** The package that stores keys: an optional peer dependency, as it ships binaries for every platform. */
export const STORE_PACKAGE = "classic-level@3";

/** The command that adds the package to a project. */
const STORE_COMMAND = `npm install ${STORE_PACKAGE}`;

/** Whether the package that the disk engine needs is installed. */
export async function isStoreInstalled(): Promise<boolean> {
  try {
    await import("classic-level");
    return true;
  } catch (error) {
    if (isNotInstalled(error)) return false;
    throw error;
  }
}

/** Loads the package that the disk engine needs. Fails with a FolderError if it is not installed. */
export async function loadStore(): Promise<typeof import("classic-level")> {
  return import("classic-level").catch((error: unknown) => {
    if (!isNotInstalled(error)) throw error;
    throw new FolderError(`A data folder needs a package that is not installed: ${STORE_COMMAND}`, error);
  });
}

const isNotInstalled = (error: unknown): boolean =>
  (error as { code?: string }).code === "ERR_MODULE_NOT_FOUND";
