/** The type and subtype of a content type, in lower case and without its parameters. */
export const mediaTypeOf = (contentType: string): string =>
  (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();

/** Whether what `contentType` names is JSON text. */
export const isJson = (contentType: string): boolean =>
  /^(application|text)\/json$|\+json$/.test(mediaTypeOf(contentType));

/** Whether what `contentType` names is text, JSON left aside. */
export const isText = (contentType: string): boolean =>
  /^text\/|^application\/xml$|\+xml$/.test(mediaTypeOf(contentType));
