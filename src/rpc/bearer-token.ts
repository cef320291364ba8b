/** The form of a bearer token, for error messages, which never quote the token. */
export const TOKEN_FORM = "must be letters, digits and -._~+/ with = at the end only";

/** Whether `text` has the form of a bearer token, see RFC 6750. */
export const isToken = (text: string): boolean => /^[A-Za-z0-9\-._~+/]+=*$/.test(text);

/** The value of the `authorization` header that carries `token`. */
export function bearer(token: string): string {
  // Headers would throw an error that quotes a token with an invalid character.
  if (!isToken(token)) throw new TypeError(`Cannot call: the token ${TOKEN_FORM}`);
  return `Bearer ${token}`;
}

/** The token in an `authorization` header; undefined for other schemes. */
export const tokenIn = (authorization: string): string | undefined =>
  /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i.exec(authorization)?.[1];

/** Whether `a` and `b` are equal, in a time that does not depend on where they differ. */
export function sameBytes(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}
