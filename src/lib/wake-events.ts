type Target = { addEventListener?: Listen; removeEventListener?: Listen; visibilityState?: string };
type Listen = (type: string, listener: () => void) => void;

/**
 * Calls `task` when a browser has reason to look whether its connections are still there: it is online again, or the
 * page was hidden, frozen or in the back/forward cache. Never elsewhere. Returns the way to call it off.
 */
export function onWake(task: () => void): () => void {
  const { document } = globalThis as { document?: Target };
  const shown = () => {
    if (document?.visibilityState === "visible") task();
  };
  const events: [target: Target | undefined, type: string, listener: () => void][] = [
    [globalThis as Target, "online", task],
    [globalThis as Target, "pageshow", task],
    [document, "visibilitychange", shown],
    [document, "resume", task],
  ];
  for (const [target, type, listener] of events) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of events) target?.removeEventListener?.(type, listener);
  };
}
