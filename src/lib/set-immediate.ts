/**
 * Runs `task` once the turn of the event loop that goes on now has ended, with all the promises that it settles. It is
 * what `setImmediate` does where that exists; a timer would wait for a millisecond or more.
 */
export const queueMacrotask: (task: () => void) => void =
  (globalThis as { setImmediate?: (task: () => void) => void }).setImmediate ?? byMessages();

/** By messages to ourselves: browsers run one of them a turn, without any delay. */
function byMessages(): (task: () => void) => void {
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
