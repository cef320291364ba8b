/** The leaves of a JSON object, by their paths joined with ":". Undefined if `text` is not a JSON object. */
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

/** Numbers become text: as a JavaScript number, a long account id would lose its last digits. */
function withQuotedNumbers(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    token.startsWith('"') ? token : `"${token}"`,
  );
}
