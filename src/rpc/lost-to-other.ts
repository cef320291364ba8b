/**
 * The errors of calls whose server was lost while another server can be used: a retry is no load for one that is down.
 */
export const lostToOther = new WeakSet<object>();
