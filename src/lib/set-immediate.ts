/**
 * Runs `task` in the next turn of the event loop, after all microtasks of this one: `setImmediate` where it exists. A
 * timer would wait for a millisecond or more.
 */
export const queueMacrotask: (task: () => void) => void =
  (globalThis as { setImmediate?: (task: () => void) => void }).setImmediate ?? createMessageQueue();

/** Runs tasks by messages to a port of this realm, which browsers deliver without a delay, one in each turn. */
function createMessageQueue(): (task: () => void) => void {
  if (typeof MessageChannel === "undefined") return (task) => void setTimeout(task, 0);
  let tasks: (() => void)[] = [];
  let channel: MessageChannel | undefined;
  const run = () => {
    const due = tasks;
    tasks = [];
    for (const task of due) task();
  };
  return (task) => {
    if (!channel) {
      channel = new MessageChannel();
      channel.port1.onmessage = run;
    }
    if (tasks.push(task) === 1) channel.port2.postMessage(0);
  };
}
