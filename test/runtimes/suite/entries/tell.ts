/** Sends the page's origin what became of it. */
export async function tell(what: { told: unknown } | { error: string }): Promise<void> {
  await fetch("/told", { method: "POST", body: JSON.stringify(what) });
}
