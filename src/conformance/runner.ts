/** How a suite declares a case: `test` of most runners fits, and so does a function of your own that runs it. */
export type Test = (name: string, run: () => Promise<void>) => void;
