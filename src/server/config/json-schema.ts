import { z } from "zod";
import { configSchema } from "./config.js";

/** The JSON Schema of the components file, for editors: draft 7, which all of them know. */
export function configJsonSchema(): Record<string, unknown> {
  const made = z.toJSONSchema(configSchema, {
    target: "draft-7",
    // What stands after a number was read as one is said better than what could be read.
    io: "output",
    unrepresentable: "any",
    override({ zodSchema, jsonSchema }) {
      const { def } = zodSchema._zod;
      if (def.type === "bigint") Object.assign(jsonSchema, { type: "integer", ...bounds(zodSchema) });
      // Nothing that has a default has to be there.
      const { properties = {}, required } = jsonSchema;
      if (!required) return;
      const missed = required.filter((name) => Object(properties[name]).default === undefined);
      if (missed.length > 0) jsonSchema.required = missed;
      else delete jsonSchema.required;
    },
  });
  const { $schema, ...rest } = made;
  const whole = {
    $schema,
    title: "Fairlead's components file",
    description: "What a Fairlead server has, by kind and name. Everything has a default.",
    ...rest,
  };
  return JSON.parse(JSON.stringify(whole, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
}

/** The bounds of a bigint, of which the library's own schema says nothing. */
function bounds({ _zod }: z.core.$ZodType): { minimum?: number; maximum?: number } {
  const limits = { greater_than: "minimum", less_than: "maximum" } as const;
  const pairs = (_zod.def.checks ?? []).flatMap((check) => {
    const { check: kind, value } = check._zod.def as { check: string; value?: bigint };
    const name = limits[kind as keyof typeof limits];
    // What JSON's numbers cannot say exactly is left to the server.
    return name && Number.isSafeInteger(Number(value)) ? [[name, Number(value)]] : [];
  });
  return Object.fromEntries(pairs);
}
