import { createHash } from "node:crypto";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";

/** Sorted by their ASCII codes, so that encoded texts sort as the UTF-8 bytes of the texts do. */
const ALPHABET = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

const VALUES = new Map([...ALPHABET].map((char, value) => [char, value]));

/** The first character of every token, as a token of a subject must not be empty. */
const START = "=";

/**
 * Encodes any text as one token of a subject, in base 64 without padding. Tokens sort as the texts do, by their UTF-8
 * bytes.
 */
export function encodeToken(text: string): string {
  let token = START;
  let bits = 0;
  let count = 0;
  for (const byte of utf8(text)) {
    bits = ((bits << 8) | byte) & 0xffff;
    count += 8;
    while (count >= 6) {
      count -= 6;
      token += ALPHABET[(bits >> count) & 0x3f];
    }
  }
  if (count > 0) token += ALPHABET[(bits << (6 - count)) & 0x3f];
  return token;
}

/** The text of a token that encodeToken() made. */
export function decodeToken(token: string): string {
  const bytes = new Uint8Array(Math.floor(((token.length - 1) * 6) / 8));
  let bits = 0;
  let count = 0;
  let length = 0;
  for (let i = 1; i < token.length; i++) {
    bits = ((bits << 6) | (VALUES.get(token[i] as string) as number)) & 0xffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes[length++] = (bits >> count) & 0xff;
  }
  return fromUtf8(bytes);
}

/** A longer token has the text's hash instead, as the length of subjects is limited. */
const MAX_TOKEN_LENGTH = 512;

/** Encodes any text as one token that is not too long. Tokens of long texts begin with `!` and cannot be decoded. */
export function shortToken(text: string): string {
  const token = encodeToken(text);
  return token.length <= MAX_TOKEN_LENGTH ? token : `!${createHash("sha256").update(text).digest("hex")}`;
}
