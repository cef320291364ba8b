/** The machine's clocks that an engine uses, in milliseconds. */
export type ClockSources = {
  /** The wall clock, as Unix time: it may jump, forward and back. */
  wall: () => number;
  /** A monotonic clock with an arbitrary start. */
  monotonic: () => number;
};

/** The saved state of a clock. */
export type ClockState = {
  /** The engine's time when it was saved. */
  timeMs: number;
  /** The wall clock's time when it was saved. */
  wallMs: number;
  /** How long the engine had been open in total. */
  openMs: number;
};

/** From `fromMs` of the monotonic clock on, the wall clock was ahead of it by `ms`. */
type Offset = { fromMs: number; ms: number };

/** A larger difference between the clocks is a jump. Slewing stays below it for days. */
const JUMP_MS = 250;

/** How many jumps are remembered. If the clock jumps more often, answers are less exact. */
const MAX_JUMPS = 64;

/**
 * An engine's time. Leases, delays and ages use a monotonic clock, so that a jump of the wall clock does not change
 * them. The wall clock gives only timestamps, and the time for which the engine was closed.
 */
export class Clock {
  readonly #sources: ClockSources;
  readonly #startMs: number;
  readonly #offsets: Offset[];
  /** How many jumps of the wall clock were detected. */
  jumps = 0;
  readonly #timeMs: number;
  readonly #openMs: number;

  /** Continues from `saved`, plus the time that has passed on the wall clock since. Default: the wall clock's time. */
  constructor(sources: ClockSources, saved?: ClockState) {
    this.#sources = sources;
    this.#startMs = sources.monotonic();
    const wallMs = sources.wall();
    this.#offsets = [{ fromMs: Number.NEGATIVE_INFINITY, ms: wallMs - this.#startMs }];
    // The system's wall clock has whole milliseconds: when a time has passed there, it must have passed here as well.
    const beginMs = sources.wall === sources.monotonic ? wallMs : wallMs + 1;
    this.#timeMs = saved ? saved.timeMs + Math.max(0, wallMs - saved.wallMs) : beginMs;
    this.#openMs = saved?.openMs ?? 0;
  }

  /** The system's clocks. With `now`, for tests, that is both the wall and the monotonic clock. */
  static sourcesOf(now?: () => number): ClockSources {
    return now
      ? { wall: now, monotonic: now }
      : { wall: () => Date.now(), monotonic: () => performance.now() };
  }

  /** The engine's time in Unix milliseconds: the wall clock's time when the data was created, monotonic since. */
  readonly now = (): number => this.#timeMs + this.#elapsedMs;

  /** The wall clock's time, in Unix milliseconds. */
  readonly wall = (): number => {
    this.watch();
    return this.#sources.wall();
  };

  /** How long the engine has been open in total, earlier processes included. */
  openFor(): number {
    return this.#openMs + this.#elapsedMs;
  }

  /** The wall clock's time `ms` ago: records with an earlier timestamp are older than `ms`. */
  wallBefore(ms: number): number {
    this.watch();
    const atMs = this.#sources.monotonic() - ms;
    const offset = this.#offsets.findLast(({ fromMs }) => fromMs <= atMs);
    return atMs + (offset ?? (this.#offsets[0] as Offset)).ms;
  }

  /** How long ago the wall clock showed `wallMs`: the latest time, if it did so more than once. */
  ageOf(wallMs: number): number {
    this.watch();
    const nowMs = this.#sources.monotonic();
    let untilMs = nowMs;
    let skippedMs: number | undefined;
    for (const { fromMs, ms } of this.#offsets.toReversed()) {
      const atMs = wallMs - ms;
      if (atMs >= fromMs && atMs <= untilMs) return nowMs - atMs;
      // The clock may have jumped over `wallMs`.
      if (atMs > untilMs && untilMs < nowMs) skippedMs ??= untilMs;
      untilMs = fromMs;
    }
    const ahead = nowMs + (this.#offsets.at(-1) as Offset).ms - wallMs;
    return skippedMs === undefined || ahead < 0 ? ahead : nowMs - skippedMs;
  }

  /** Records a jump if the wall clock has jumped since the last call. */
  watch(): void {
    const nowMs = this.#sources.monotonic();
    const ms = this.#sources.wall() - nowMs;
    if (Math.abs(ms - (this.#offsets.at(-1) as Offset).ms) < JUMP_MS) return;
    this.#offsets.push({ fromMs: nowMs, ms });
    if (this.#offsets.length > MAX_JUMPS) this.#offsets.splice(1, 1);
    this.jumps++;
  }

  /** The state to store, for the next opening of the data. */
  save(): ClockState {
    return { timeMs: this.now(), wallMs: this.#sources.wall(), openMs: this.openFor() };
  }

  get #elapsedMs(): number {
    return this.#sources.monotonic() - this.#startMs;
  }
}
