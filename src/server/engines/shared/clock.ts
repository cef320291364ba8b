/** The clocks of the machine that an engine goes by, in milliseconds. */
export type ClockSources = {
  /** The wall clock, as Unix time: it may jump, forward and back. */
  wall: () => number;
  /** A monotonic clock, from any moment on. */
  monotonic: () => number;
};

/** Where a clock stood when it was last saved. */
export type ClockState = {
  /** The engine's time. */
  timeMs: number;
  /** The wall clock's. */
  wallMs: number;
  /** How long the engine has been open in all. */
  openMs: number;
};

/** From when on the wall clock was ahead of the monotonic one by how much. */
type Offset = { fromMs: number; ms: number };

/** How far the clocks may drift apart before that counts as a jump: slewing stays below it for days. */
const JUMP_MS = 250;

/** How many jumps are remembered. A clock that jumps more often is not worth a more exact answer. */
const JUMPS = 64;

/**
 * An engine's time. Leases, delays and ages go on steadily whatever happens to the wall clock, which says only what a
 * record or a file is stamped with, and for how long the engine was closed.
 */
export class Clock {
  readonly #sources: ClockSources;
  readonly #startMs: number;
  readonly #offsets: Offset[];
  /** How often the wall clock was seen to have jumped. */
  jumps = 0;
  readonly #timeMs: number;
  readonly #openMs: number;

  /** Goes on from `saved`, by the time that has passed on the wall clock since; without it, from the wall clock's time. */
  constructor(sources: ClockSources, saved?: ClockState) {
    this.#sources = sources;
    this.#startMs = sources.monotonic();
    const wallMs = sources.wall();
    this.#offsets = [{ fromMs: Number.NEGATIVE_INFINITY, ms: wallMs - this.#startMs }];
    // A system's wall clock tells whole milliseconds: what it says to be over must be over here as well.
    const beginMs = sources.wall === sources.monotonic ? wallMs : wallMs + 1;
    this.#timeMs = saved ? saved.timeMs + Math.max(0, wallMs - saved.wallMs) : beginMs;
    this.#openMs = saved?.openMs ?? 0;
  }

  /** That of the system; with `now`, which is then both wall and monotonic clock, that of a test. */
  static sourcesOf(now?: () => number): ClockSources {
    return now
      ? { wall: now, monotonic: now }
      : { wall: () => Date.now(), monotonic: () => performance.now() };
  }

  /** The engine's time: the wall clock's when its data began, and steady since, in Unix milliseconds. */
  readonly now = (): number => this.#timeMs + this.#elapsedMs;

  /** The wall clock's time, in Unix milliseconds. */
  readonly wall = (): number => {
    this.watch();
    return this.#sources.wall();
  };

  /** How long the engine has been open, in this life and all before. */
  openFor(): number {
    return this.#openMs + this.#elapsedMs;
  }

  /** What the wall clock showed `ms` ago: what was stamped in front of that is older. */
  wallBefore(ms: number): number {
    this.watch();
    const atMs = this.#sources.monotonic() - ms;
    const offset = this.#offsets.findLast(({ fromMs }) => fromMs <= atMs);
    return atMs + (offset ?? (this.#offsets[0] as Offset)).ms;
  }

  /** How long ago the wall clock showed `wallMs`: the last time, where it did so more than once. */
  ageOf(wallMs: number): number {
    this.watch();
    const nowMs = this.#sources.monotonic();
    let untilMs = nowMs;
    let skippedMs: number | undefined;
    for (const { fromMs, ms } of this.#offsets.toReversed()) {
      const atMs = wallMs - ms;
      if (atMs >= fromMs && atMs <= untilMs) return nowMs - atMs;
      // It may have jumped over it.
      if (atMs > untilMs && untilMs < nowMs) skippedMs ??= untilMs;
      untilMs = fromMs;
    }
    const ahead = nowMs + (this.#offsets.at(-1) as Offset).ms - wallMs;
    return skippedMs === undefined || ahead < 0 ? ahead : nowMs - skippedMs;
  }

  /** Notes whether the wall clock has jumped since it was last looked at. */
  watch(): void {
    const nowMs = this.#sources.monotonic();
    const ms = this.#sources.wall() - nowMs;
    if (Math.abs(ms - (this.#offsets.at(-1) as Offset).ms) < JUMP_MS) return;
    this.#offsets.push({ fromMs: nowMs, ms });
    if (this.#offsets.length > JUMPS) this.#offsets.splice(1, 1);
    this.jumps++;
  }

  /** To be kept, and gone on from when the data is opened again. */
  save(): ClockState {
    return { timeMs: this.now(), wallMs: this.#sources.wall(), openMs: this.openFor() };
  }

  get #elapsedMs(): number {
    return this.#sources.monotonic() - this.#startMs;
  }
}
