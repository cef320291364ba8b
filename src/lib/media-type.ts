/** The type and subtype of a content type, in lower case and without its parameters. */
export const mediaTypeOf = (contentType: string): string =>
  (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();

/** Whether `contentType` is a type of JSON. */
export const isJson = (contentType: string): boolean =>
  /^(application|text)\/json$|\+json$/.test(mediaTypeOf(contentType));

/** Whether `contentType` is a type of text other than JSON. */
export const isText = (contentType: string): boolean =>
  /^text\/|^application\/xml$|\+xml$/.test(mediaTypeOf(contentType));
