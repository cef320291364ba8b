/** What adds the package that keeps keys in order on disk: an optional peer, as it brings binaries for every platform. */
export const STORE_COMMAND = "npm install classic-level@3";

/** Whether `error` says that the package is not there. */
export const isMissing = (error: unknown): boolean =>
  (error as { code?: string }).code === "ERR_MODULE_NOT_FOUND";

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
