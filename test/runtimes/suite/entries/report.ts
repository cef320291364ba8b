/** Sends the results of the suite, or its failure, to the page's origin. */
export async function report(outcome: { results: unknown } | { error: string }): Promise<void> {
  await fetch("/results", { method: "POST", body: JSON.stringify(outcome) });
}
