import { readFileSync } from "node:fs";
import { join } from "node:path";

const read = (name: string) => readFileSync(join(import.meta.dirname, "certificates", name), "utf8");

/**
 * A private authority, and a certificate for localhost, 127.0.0.1 and ::1 that it has signed. Valid for a hundred years,
 * made once by openssl (`openssl x509 -in test/support/certificates/server.pem -text` shows the details).
 */
export const ca = read("ca.pem");
export const cert = read("server.pem");
export const key = read("server.key");

/** Another key and its self-signed certificate for the same names. */
export const renewed = { cert: read("renewed.pem"), key: read("renewed.key") };
