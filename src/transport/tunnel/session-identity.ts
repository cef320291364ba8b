/** The settings that say who this end is. */
export function identityOf(
  appId: string | undefined,
  authorization: string | undefined,
  offer: number | undefined,
): { appId?: string; authorization?: string; offer?: number } {
  return {
    ...(appId !== undefined && { appId }),
    ...(authorization !== undefined && { authorization }),
    ...(offer !== undefined && { offer }),
  };
}
