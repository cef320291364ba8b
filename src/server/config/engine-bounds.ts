import { z } from "zod";
import { DISK_BOUNDS } from "../engines/disk/bounds.js";
import { JETSTREAM_BOUNDS } from "../engines/jetstream/bounds.js";
import { MEMORY_BOUNDS } from "../engines/memory/bounds.js";
import type { Bound } from "../engines/shared/bounds.js";
import { count, milliseconds } from "./fields.js";

type BoundSettings<B> = {
  [Name in keyof B]: B[Name] extends { default: number }
    ? z.ZodDefault<z.ZodNumber>
    : z.ZodOptional<z.ZodNumber>;
};

const memory = boundSettings(MEMORY_BOUNDS);
const disk = boundSettings(DISK_BOUNDS);
const jetstream = boundSettings(JETSTREAM_BOUNDS);

/** The bounds of each engine that comes with Fairlead. Another engine is given its own by the program that opens it. */
export const engineSettings = z
  .strictObject({
    memory: memory.default(memory.parse({})).describe("The memory of the server's process."),
    disk: disk.default(disk.parse({})).describe("A folder on the disk."),
    jetstream: jetstream.default(jetstream.parse({})).describe("A NATS JetStream cluster, for many servers."),
  })
  .default({ memory: memory.parse({}), disk: disk.parse({}), jetstream: jetstream.parse({}) })
  .describe("The bounds of the engines that keep the data.");

function boundSettings<B extends Readonly<Record<string, Bound>>>(
  bounds: B,
): z.ZodObject<BoundSettings<B>, z.core.$strict> {
  const settings = Object.entries(bounds).map(([name, { isDuration, description, default: value }]) => {
    const number = isDuration ? milliseconds : count();
    return [name, (value === undefined ? number.optional() : number.default(value)).describe(description)];
  });
  return z.strictObject(Object.fromEntries(settings) as BoundSettings<B>);
}
