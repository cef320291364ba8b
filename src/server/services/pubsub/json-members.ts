/**
 * The members of a JSON object, each with the unchanged text of its value. So numbers of any length, the order of keys
 * and every escape are kept, which JSON.parse does not do. Of members with the same name, the last one counts. Returns
 * undefined if `text` is not a JSON object.
 */
export function jsonMembers(text: string): Map<string, string> | undefined {
  if (!isObject(text)) return undefined;
  // The text is valid JSON, so its brackets, commas and colons outside strings are its structure.
  const members = new Map<string, string>();
  let depth = 0;
  let start = 0;
  let name: string | undefined;
  const closeMember = (end: number) => {
    if (name !== undefined) members.set(name, text.slice(start, end).trim());
    name = undefined;
    start = end + 1;
  };
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '"':
        i = endOfString(text, i);
        break;
      case "{":
      case "[":
        if (depth++ === 0) start = i + 1;
        break;
      case "}":
      case "]":
        if (--depth === 0) closeMember(i);
        break;
      case ",":
        if (depth === 1) closeMember(i);
        break;
      case ":":
        if (depth !== 1) break;
        name = JSON.parse(text.slice(start, i)) as string;
        start = i + 1;
    }
  }
  return members;
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** The position of the closing quote of the string at `start`: the first quote that no backslash escapes. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text[before - 1] === "\\") before--;
    if ((end - before) % 2 === 0) return end;
  }
}
