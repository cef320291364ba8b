import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";

/** Signs JWTs for a test, and serves the keys that verify them. */
export interface Issuer extends AsyncDisposable {
  jwksUrl: string;
  /** The number of requests for the keys. */
  asked(): number;
  /** Signs with a new key from now on, and serves only that. */
  rotate(): Promise<void>;
  /** Sets the HTTP status of the responses with the keys. */
  answerWith(status: number): void;
  /** A token of the user "ada" for "fairlead", valid for a minute. `claims` override that. */
  sign(claims?: JWTPayload): Promise<string>;
}

const ISSUER = "https://issuer.example";

/** The configuration of a server for the issuer. */
export const jwtOf = ({ jwksUrl }: Pick<Issuer, "jwksUrl">) => ({
  issuer: ISSUER,
  audience: "fairlead",
  jwksUrl,
});

export async function openIssuer(): Promise<Issuer> {
  let number = 0;
  let status = 200;
  let asked = 0;
  const newKey = async () => {
    const { publicKey, privateKey } = await generateKeyPair("ES256");
    const kid = `key-${++number}`;
    return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256" } };
  };
  let key = await newKey();
  const http = createServer((_, response) => {
    asked++;
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ keys: [key.jwk] }));
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    jwksUrl: `http://127.0.0.1:${(http.address() as AddressInfo).port}/jwks`,
    asked: () => asked,
    async rotate() {
      key = await newKey();
    },
    answerWith(other) {
      status = other;
    },
    sign(claims = {}) {
      const nowS = Math.floor(Date.now() / 1000);
      const all = { iss: ISSUER, aud: "fairlead", sub: "ada", exp: nowS + 60, ...claims };
      return new SignJWT(all).setProtectedHeader({ alg: "ES256", kid: key.kid }).sign(key.privateKey);
    },
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}
