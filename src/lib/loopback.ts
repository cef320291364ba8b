/** Whether only this machine can reach what listens on `host`. An empty one is every address. */
export const isLoopback = (host: string): boolean =>
  /^(localhost|127(\.\d{1,3}){3}|(0*:)+0*1|::ffff:127(\.\d{1,3}){3})$/i.test(
    host.replace(/^\[(.*)\]$/, "$1"),
  );
