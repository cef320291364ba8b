/** Messages for the error codes of the operating system. */
const REASONS: Record<string, string> = {
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is a file, not a folder",
  EISDIR: "it is a folder, not a file",
  EACCES: "this process has no right to it",
  EPERM: "this process has no right to it",
  EROFS: "it is on a file system that is mounted read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EMFILE: "this process has too many open files",
  ENFILE: "the system has too many open files",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "its symbolic links lead in a circle",
  ENOTEMPTY: "the folder is not empty",
  EEXIST: "it is there already",
  EIO: "the disk reports an error",
  EADDRINUSE: "the port is taken",
  EADDRNOTAVAIL: "this machine has no such address",
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was lost",
  ENOTFOUND: "there is no host of that name",
  EAI_AGAIN: "the name server does not answer",
};

/** The reason of a failure. Error codes of the operating system are replaced by messages. */
export function reasonOf(error: unknown): string {
  const { code, message } = Object(error) as NodeJS.ErrnoException;
  return REASONS[String(code)] ?? message ?? String(error);
}

/** The message about a failed command, without stacks and without error codes of the operating system. */
export function errorText(error: unknown): string {
  const { code, path, message } = Object(error) as NodeJS.ErrnoException;
  const reason = REASONS[String(code)];
  // Node's message begins with the code. Messages of our own are kept, as they say more.
  if (reason !== undefined && (message === undefined || message.includes(String(code)))) {
    return path === undefined ? reason : `"${path}": ${reason}`;
  }
  return (message ?? String(error)).replaceAll(/\b(E[A-Z]{3,}): [^,\n]+, \w+( '[^']*')?/g, (text, name) => {
    return REASONS[name] ?? text;
  });
}
