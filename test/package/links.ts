/** A link of a page to a file beside it, or to a heading. */
interface LocalLink {
  /** As the page has it. */
  link: string;
  /** Relative to the page; empty for the page itself. */
  path: string;
  anchor: string | undefined;
}

/** The text of a Markdown page without its code, which may look like links or headings. */
const withoutCode = (markdown: string): string => markdown.replaceAll(/^```[\s\S]*?^```$/gm, "");

/** The links and pictures of a Markdown page that have no scheme. */
export const localLinks = (markdown: string): LocalLink[] =>
  [...withoutCode(markdown).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = ""]) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [path = "", anchor] = link.split("#");
      return { link, path, anchor };
    });

/** The anchors of a Markdown page's headings, as GitHub and npm make them. */
export const anchors = (markdown: string): string[] =>
  [...withoutCode(markdown).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
