/** Whether `host` is a loopback name or address. An empty host means all addresses. */
export const isLoopback = (host: string): boolean =>
  /^(localhost|127(\.\d{1,3}){3}|(0*:)+0*1|::ffff:127(\.\d{1,3}){3})$/i.test(
    host.replace(/^\[(.*)\]$/, "$1"),
  );
