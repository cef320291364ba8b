import { readFileSync } from "node:fs";
import { join } from "node:path";

const read = (name: string) => readFileSync(join(import.meta.dirname, "certificates", name), "utf8");

/**
 * An authority that nobody trusts and, signed by it, a certificate for localhost, 127.0.0.1 and ::1 with its key: valid
 * for a hundred years, made once by openssl (`openssl x509 -in test/certificates/server.pem -text` shows how).
 */
export const ca = read("ca.pem");
export const cert = read("server.pem");
export const key = read("server.key");

/** Another key, with a certificate that it has signed itself, for the same names. */
export const renewed = { cert: read("renewed.pem"), key: read("renewed.key") };
