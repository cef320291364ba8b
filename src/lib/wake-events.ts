type Target = { addEventListener?: Listen; removeEventListener?: Listen; visibilityState?: string };
type Listen = (type: string, listener: () => void) => void;

/**
 * Calls `task` on browser events after which connections may be lost: the browser is online again, or the page was
 * hidden, frozen or in the back/forward cache. Never calls it in other runtimes. Returns a function that removes the
 * listeners.
 */
export function onWake(task: () => void): () => void {
  const { document } = globalThis as { document?: Target };
  const onVisibility = () => {
    if (document?.visibilityState === "visible") task();
  };
  const events: [target: Target | undefined, type: string, listener: () => void][] = [
    [globalThis as Target, "online", task],
    [globalThis as Target, "pageshow", task],
    [document, "visibilitychange", onVisibility],
    [document, "resume", task],
  ];
  for (const [target, type, listener] of events) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of events) target?.removeEventListener?.(type, listener);
  };
}
