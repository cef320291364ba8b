/** The context that a runner may pass to a case, with a function to skip the case. */
export interface Skips {
  /** Called with the reason if the case is skipped. */
  skip?: (reason?: string) => unknown;
}

/** Declares one case. The `test` function of most runners fits. */
export type Test = (name: string, run: (context?: Skips) => Promise<void>) => void;
