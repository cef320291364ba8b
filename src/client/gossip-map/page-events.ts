type Target = { addEventListener?: Listen; removeEventListener?: Listen; visibilityState?: string };
type Listen = (type: string, listener: (event: { persisted?: boolean }) => void) => void;

export interface PageEvents {
  /** The page may be gone soon: it was hidden, or is being left. */
  onHidden: () => void;
  /** The page is kept in the back/forward cache, where it does not run. */
  onFrozen: () => void;
  /** The page is back from there. */
  onBack: () => void;
}

/** Calls the tasks on events of the page; never in other runtimes. Returns a function that removes the listeners. */
export function onPageChange({ onHidden, onFrozen, onBack }: PageEvents): () => void {
  const { document } = globalThis as { document?: Target };
  const page = globalThis as Target;
  const events: [Target | undefined, string, (event: { persisted?: boolean }) => void][] = [
    [document, "visibilitychange", () => document?.visibilityState === "hidden" && onHidden()],
    [page, "pagehide", ({ persisted }) => (persisted ? onFrozen() : onHidden())],
    [page, "pageshow", ({ persisted }) => persisted && onBack()],
  ];
  for (const [target, type, listener] of events) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of events) target?.removeEventListener?.(type, listener);
  };
}
