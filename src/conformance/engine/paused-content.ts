/** Content that pauses after its first chunk until go() is called. `stopped` resolves at the pause. */
export function pausedContent(first: Uint8Array, ...rest: Uint8Array[]) {
  let go = () => {};
  let stop = () => {};
  const going = new Promise<void>((resolve) => {
    go = resolve;
  });
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const content = (async function* () {
    yield first;
    stop();
    await going;
    yield* rest;
  })();
  return { content, stopped, go };
}
