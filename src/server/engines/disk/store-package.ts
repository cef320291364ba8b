import { FolderError } from "./faults.js";

/** The package that keeps keys in order on disk: an optional peer, as it brings binaries for every platform. */
const PACKAGE = "classic-level";

/** What adds it. */
export const STORE_COMMAND = `npm install ${PACKAGE}@3`;

/** The store's package; fails with how to add it where it is not installed. */
export async function loadStore(): Promise<typeof import("classic-level")> {
  try {
    return await import("classic-level");
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_MODULE_NOT_FOUND") {
      throw new FolderError(
        `The disk engine needs the package ${PACKAGE}: add it with "${STORE_COMMAND}"`,
        error,
      );
    }
    throw error;
  }
}

/** Whether the package that the disk engine needs is installed. */
export async function isStoreInstalled(): Promise<boolean> {
  try {
    await loadStore();
    return true;
  } catch (error) {
    if (error instanceof FolderError) return false;
    throw error;
  }
}
