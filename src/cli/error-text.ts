/** The operating system's error codes in words. */
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

/** Why something failed, in words: an error code of the operating system is replaced by its meaning. */
export function reasonOf(error: unknown): string {
  const { code, message } = Object(error) as NodeJS.ErrnoException;
  return REASONS[String(code)] ?? message ?? String(error);
}

/** The line that the user reads about a command that failed: never a stack, never a bare error code. */
export function errorText(error: unknown): string {
  const { code, path, message } = Object(error) as NodeJS.ErrnoException;
  const reason = REASONS[String(code)];
  // The system's own text begins with the code; one that we wrote says more already.
  if (reason !== undefined && (message === undefined || message.includes(String(code)))) {
    return path === undefined ? reason : `"${path}": ${reason}`;
  }
  return (message ?? String(error)).replaceAll(/\b(E[A-Z]{3,}): [^,\n]+, \w+( '[^']*')?/g, (text, name) => {
    return REASONS[name] ?? text;
  });
}
