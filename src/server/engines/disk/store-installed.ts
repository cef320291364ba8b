/** The package that stores keys: an optional peer dependency, as it ships binaries for every platform. */
export const STORE_PACKAGE = "classic-level@3";

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

/** Whether the import of a package failed because it is not installed. */
export const isNotInstalled = (error: unknown): boolean =>
  (error as { code?: string }).code === "ERR_MODULE_NOT_FOUND";
