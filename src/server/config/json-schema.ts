import { z } from "zod";
import { configSchema } from "./config.js";

/** The JSON Schema of the components file, for editors: draft 7, which all of them support. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(configSchema, {
    target: "draft-7",
    // The settings as they are after preprocessing: an integer, not the text that may stand for it.
    io: "output",
    unrepresentable: "any",
    override({ zodSchema, jsonSchema }) {
      const { def } = zodSchema._zod;
      if (def.type === "bigint") Object.assign(jsonSchema, { type: "integer", ...bounds(zodSchema) });
      // A setting with a default is not required.
      const { properties = {}, required } = jsonSchema;
      if (!required) return;
      const withoutDefault = required.filter((name) => Object(properties[name]).default === undefined);
      if (withoutDefault.length > 0) jsonSchema.required = withoutDefault;
      else delete jsonSchema.required;
    },
  });
  const { $schema, ...rest } = schema;
  const whole = {
    $schema,
    title: "Fairlead's components file",
    description: "The components and settings of a Fairlead server. Everything has a default.",
    ...rest,
  };
  return JSON.parse(JSON.stringify(whole, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
}

/** The bounds of a bigint, which zod's JSON Schema leaves out. */
function bounds({ _zod }: z.core.$ZodType): { minimum?: number; maximum?: number } {
  const limits = { greater_than: "minimum", less_than: "maximum" } as const;
  const pairs = (_zod.def.checks ?? []).flatMap((check) => {
    const { check: kind, value } = check._zod.def as { check: string; value?: bigint };
    const name = limits[kind as keyof typeof limits];
    // Bounds that JSON's numbers cannot represent exactly are checked by the server only.
    return name && Number.isSafeInteger(Number(value)) ? [[name, Number(value)]] : [];
  });
  return Object.fromEntries(pairs);
}
