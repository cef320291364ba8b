import { readFileSync } from "node:fs";
import { Comment, Converter, ReflectionKind } from "typedoc";

const schema = JSON.parse(readFileSync(new URL("../../fairlead.schema.json", import.meta.url), "utf8"));

/**
 * The configuration's types come from a zod schema, so their fields get the descriptions of the JSON Schema. The members
 * of an anonymous type or of a Record need no comment: the type that contains them has one.
 */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    const undocumented = new Set();
    for (const property of project.getReflectionsByKind(ReflectionKind.Property | ReflectionKind.Method)) {
      if (property.hasComment()) continue;
      const description = described(schema, fieldPath(property));
      if (description) property.comment = new Comment([{ kind: "text", text: description }]);
      else if (isFromRecord(project, property) || (isAnonymous(property.parent) && isChecked(project, property))) {
        undocumented.add((property.signatures?.[0] ?? property).getFriendlyFullName());
      }
    }
    app.options.setValue("intentionallyNotDocumented", [...undocumented]);
  });
}

const isAnonymous = (reflection) => reflection?.kindOf(ReflectionKind.TypeLiteral) ?? false;

/** Whether the compiler made the property for a Record: it then has no declaration in a file. */
const isFromRecord = (project, property) => project.getSymbolIdFromReflection(property)?.packagePath === "";

/** Whether typedoc would require a comment: not for parameters, nor for members that a type operator has made. */
function isChecked(project, reflection) {
  for (let at = reflection; at; at = at.parent) if (at.kindOf(ReflectionKind.Parameter)) return false;
  if (reflection.type?.type === "reflection" && reflection.type.declaration.signatures?.length) return false;
  return project.getSymbolIdFromReflection(reflection) !== undefined;
}

/** The path of a field from `Config` or `ConfigInput`; undefined for other reflections. */
function fieldPath(reflection) {
  const path = [];
  for (let at = reflection; at; at = at.parent) {
    if (at.name === "Config" || at.name === "ConfigInput") return path;
    if (!isAnonymous(at)) path.unshift(at.name);
  }
  return undefined;
}

/** The description of the field at `path` in the JSON Schema, through records, lists and alternatives. */
function described(node, path) {
  if (!node || !path) return undefined;
  const [name, ...rest] = path;
  if (name === undefined) return node.description;
  const own = node.properties?.[name];
  const found = own ? described(own, rest) : undefined;
  if (found) return found;
  const inside = [node.additionalProperties, node.items, ...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])];
  for (const one of inside) {
    const text = typeof one === "object" ? described(one, path) : undefined;
    if (text) return text;
  }
  return undefined;
}
