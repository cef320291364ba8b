/** The leaves of a JSON object by their path, its parts joined by ":"; undefined where `text` is none. */
export function secretsIn(text: string): ReadonlyMap<string, string> | undefined {
  let root: unknown;
  try {
    const json = text.replace(/^\uFEFF/, "");
    JSON.parse(json);
    root = JSON.parse(withQuotedNumbers(json));
  } catch {
    return undefined;
  }
  if (typeof root !== "object" || root === null || Array.isArray(root)) return undefined;
  const secrets = new Map<string, string>();
  const walk = (node: unknown, at = "", prefix = "") => {
    if (typeof node === "string" || typeof node === "boolean") secrets.set(at, String(node));
    if (typeof node !== "object" || node === null) return;
    for (const [name, inner] of Object.entries(node)) walk(inner, prefix + name, `${prefix}${name}:`);
  };
  walk(root);
  return secrets;
}

/** A number as a secret is its digits: as a JavaScript number, a long account id would lose its last ones. */
function withQuotedNumbers(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    token.startsWith('"') ? token : `"${token}"`,
  );
}
