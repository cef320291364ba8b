import type { Primitive } from "../primitives.js";
import type { Verb } from "./permissions.js";

/** What a caller may do. */
export interface Rule {
  readonly primitive: Primitive | "*";
  /** A store's name, or with `*` at the end all that begin so. Left out: every store. */
  readonly store?: string | undefined;
  /** A consumer group's name, or with `*` at the end all that begin so. Left out: every group but those of apps. */
  readonly group?: string | undefined;
  /** "read", "write", the names of single RPCs, or "*" for all. */
  readonly verbs: readonly string[];
}

/** What a call is about to do. */
export interface Deed {
  readonly primitive: Primitive;
  readonly rpc: string;
  /** The verbs that let it pass, all of them. */
  readonly verbs: readonly Verb[];
}

/**
 * Whether `rules` let `deed` pass on `store`, and for the consumer group `group`; without a store or a group: on any at
 * all. What no rule allows is forbidden.
 */
export function permits(
  rules: readonly Rule[],
  { primitive, rpc, verbs }: Deed,
  store?: string,
  group?: string,
): boolean {
  const allows = (verb: string) =>
    rules.some(
      (rule) =>
        rule.verbs.includes(verb) &&
        isAbout(rule, primitive, store) &&
        (group === undefined || fits(rule.group, group)),
    );
  if (allows("*") || allows(rpc)) return true;
  return verbs.length > 0 && verbs.every(allows);
}

/** Whether `rules` let anything at all be done to `store`. */
export const knows = (rules: readonly Rule[], primitive: Primitive, store: string): boolean =>
  rules.some((rule) => isAbout(rule, primitive, store));

function isAbout(rule: Rule, primitive: Primitive, store: string | undefined): boolean {
  if (rule.primitive !== "*" && rule.primitive !== primitive) return false;
  return store === undefined || fits(rule.store, store);
}

/** Whether a rule's pattern, where it has one, is for `name`. */
const fits = (pattern: string | undefined, name: string): boolean =>
  pattern === undefined || (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern);
