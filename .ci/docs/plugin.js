import { readFileSync } from "node:fs";
import { Comment, Converter, ReflectionKind } from "typedoc";

const schema = JSON.parse(readFileSync(new URL("../../fairlead.schema.json", import.meta.url), "utf8"));

/**
 * The configuration's types come from a zod schema: what their fields mean stands in the JSON Schema made of it. And
 * the members of an anonymous type are told of by the comment of what it stands in.
 */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    const told = new Set();
    for (const property of project.getReflectionsByKind(ReflectionKind.Property | ReflectionKind.Method)) {
      if (property.hasComment()) continue;
      const description = described(schema, fieldPath(property));
      if (description) property.comment = new Comment([{ kind: "text", text: description }]);
      else if (isAnonymous(property.parent) && isChecked(project, property)) {
        told.add((property.signatures?.[0] ?? property).getFriendlyFullName());
      }
    }
    app.options.setValue("intentionallyNotDocumented", [...told]);
  });
}

const isAnonymous = (reflection) => reflection?.kindOf(ReflectionKind.TypeLiteral) ?? false;

/** Whether typedoc would ask for a comment: not of parameters, nor of what a type operator made up. */
function isChecked(project, reflection) {
  for (let at = reflection; at; at = at.parent) if (at.kindOf(ReflectionKind.Parameter)) return false;
  if (reflection.type?.type === "reflection" && reflection.type.declaration.signatures?.length) return false;
  return project.getSymbolIdFromReflection(reflection) !== undefined;
}

/** The names of the fields from `Config` or `ConfigInput` on; undefined for all else. */
function fieldPath(reflection) {
  const path = [];
  for (let at = reflection; at; at = at.parent) {
    if (at.name === "Config" || at.name === "ConfigInput") return path;
    if (!isAnonymous(at)) path.unshift(at.name);
  }
  return undefined;
}

/** What the JSON Schema says of the field at `path`, through records, lists and alternatives. */
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
