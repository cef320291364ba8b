import { asyncDispose } from "../lib/dispose.js";

interface Closable {
  close(): Promise<void>;
}

/** The result of `opening`, which also closes when the client closes. `register` registers it, even while it opens. */
export async function closeWithClient<T extends Closable>(
  opening: T | Promise<T>,
  register: (end: () => unknown) => () => void,
): Promise<T> {
  const pending = Promise.resolve(opening);
  const unregister = register(async () => (await pending).close());
  const opened = await pending.catch((error) => {
    unregister();
    throw error;
  });
  const close = () => {
    unregister();
    return opened.close();
  };
  return { ...opened, close, [asyncDispose]: close };
}
