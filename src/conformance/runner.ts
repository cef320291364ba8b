/** What a runner may hand to a case, to be told that it is not run. */
export interface Skips {
  /** Called with the reason where a case is skipped. */
  skip?: (reason?: string) => unknown;
}

/** How a suite declares a case: `test` of most runners fits, and so does a function of your own that runs it. */
export type Test = (name: string, run: (context?: Skips) => Promise<void>) => void;
