import { FolderError } from "./faults.js";

/** What adds the package that keeps keys in order on disk: an optional peer, as it brings binaries for every platform. */
export const STORE_COMMAND = "npm install classic-level@3";

/** Whether `error` says that the package is not there. */
const isMissing = (error: unknown): boolean => (error as { code?: string }).code === "ERR_MODULE_NOT_FOUND";

/** The package that the disk engine needs. */
export async function loadStore(): Promise<typeof import("classic-level")> {
  return import("classic-level").catch((error: unknown) => {
    if (!isMissing(error)) throw error;
    throw new FolderError(`A data folder needs a package that is not installed: ${STORE_COMMAND}`, error);
  });
}

/** Whether the package that the disk engine needs is installed. */
export async function isStoreInstalled(): Promise<boolean> {
  try {
    await import("classic-level");
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
