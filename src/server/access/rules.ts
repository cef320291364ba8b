import type { Primitive } from "../primitives.js";
import type { Permission, Verb } from "./permissions.js";

/** A rule that permits operations to its callers. */
export interface AccessRule {
  readonly primitive: Primitive | "*";
  /** A store's name, or a prefix and `*`. Left out: every store. */
  readonly store?: string | undefined;
  /** A consumer group's name, or a prefix and `*`. Left out: every group but those of apps. */
  readonly group?: string | undefined;
  /** A key, or a prefix and `*`. Left out: every key. */
  readonly keys?: string | undefined;
  /** "read", "write", the names of single RPCs, or "*" for all. */
  readonly verbs: readonly string[];
}

/** The operation of a call, which rules may permit. */
export interface RpcOperation {
  readonly primitive: Primitive;
  readonly rpc: string;
  /** A rule must allow all of these verbs, or the RPC by its name. */
  readonly verbs: readonly Verb[];
}

/** The operation of a call of the RPC `rpc`, which needs this permission. */
export const operationOf = ({ primitive, verbs }: Permission<never>, rpc: string): RpcOperation => ({
  primitive,
  verbs,
  rpc,
});

/** What a caller may do with the keys of one store. */
export interface KeyRights {
  mayRead(key: string): boolean;
  /** Only a key that it may read as well: who writes a key must know which write is newer. */
  mayWrite(key: string): boolean;
}

/**
 * Whether `rules` permit the operation on `store` and for the consumer group `group`; without a store or a group,
 * whether they permit it on any. An operation that no rule allows is forbidden.
 */
export function permits(
  rules: readonly AccessRule[],
  { primitive, rpc, verbs }: RpcOperation,
  store?: string,
  group?: string,
): boolean {
  const allows = (verb: string) =>
    rules.some(
      (rule) =>
        rule.verbs.includes(verb) &&
        isAbout(rule, primitive, store) &&
        (group === undefined || matches(rule.group, group)),
    );
  if (allows("*") || allows(rpc)) return true;
  return verbs.length > 0 && verbs.every(allows);
}

/** The rights on the keys of `store` by `rules`; undefined if they allow to read and to write every key. */
export function keyRights(
  rules: readonly AccessRule[],
  { primitive, rpc }: RpcOperation,
  store: string,
): KeyRights | undefined {
  const patternsFor = (verb: Verb) =>
    rules
      .filter(
        (rule) =>
          isAbout(rule, primitive, store) && [verb, rpc, "*"].some((name) => rule.verbs.includes(name)),
      )
      .map(({ keys }) => keys);
  const [readable, writable] = [patternsFor("read"), patternsFor("write")];
  if (readable.includes(undefined) && writable.includes(undefined)) return undefined;
  const mayRead = (key: string) => readable.some((pattern) => matches(pattern, key));
  return {
    mayRead,
    mayWrite: (key) => mayRead(key) && writable.some((pattern) => matches(pattern, key)),
  };
}

/** Whether any of the `rules` is about `store`. */
export const mentions = (rules: readonly AccessRule[], primitive: Primitive, store: string): boolean =>
  rules.some((rule) => isAbout(rule, primitive, store));

function isAbout(rule: AccessRule, primitive: Primitive, store: string | undefined): boolean {
  if (rule.primitive !== "*" && rule.primitive !== primitive) return false;
  return store === undefined || matches(rule.store, store);
}

/** Whether a rule's pattern, if it has one, matches `name`. */
const matches = (pattern: string | undefined, name: string): boolean =>
  pattern === undefined || (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern);
