import { ProtocolFault } from "../wire/protocol-fault.js";
import type { Stream } from "./stream.js";
import { StreamMap } from "./stream-map.js";

/** The open streams of a session by their numbers: odd ones are the dialler's calls, even ones the acceptor's. */
export class StreamTable {
  readonly #streams = new StreamMap();
  #nextId: number;
  #mine = 0;
  /** The last stream that the other end has begun. */
  lastId = 0;
  /** Whether calls of the other end are not taken any more: what belongs to them is passed over. */
  isLeaving = false;

  constructor(dialled: boolean) {
    this.#nextId = dialled ? 1 : 2;
  }

  /** The number of this end's next call. */
  get nextId(): number {
    return this.#nextId;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** How many are calls of this end. */
  get mineCount(): number {
    return this.#mine;
  }

  /** Whether a stream of that number is a call of this end. */
  isMine(id: number): boolean {
    return id % 2 === this.#nextId % 2;
  }

  /** Opens the next call of this end. */
  addMine(stream: Stream): void {
    stream.id = this.#nextId;
    this.#nextId += 2;
    this.#mine++;
    this.#streams.add(stream);
  }

  /** Throws unless a call of the other end may have that number. */
  checkNext(id: number): void {
    if (!this.isMine(id) && id > this.lastId) return;
    throw new ProtocolFault(
      `a call has the number ${id}: it has to be the caller's, and above ${this.lastId}`,
    );
  }

  /** Opens a call of the other end. */
  addTheirs(id: number, stream: Stream): void {
    this.lastId = stream.id = id;
    this.#streams.add(stream);
  }

  /** The stream of that number; undefined if it is over. Throws if there never was one. */
  at(id: number): Stream | undefined {
    const stream = this.#streams.get(id);
    if (stream) return stream;
    if (this.isMine(id) ? id < this.#nextId : id <= this.lastId || this.isLeaving) return undefined;
    throw new ProtocolFault(`stream ${id} has not begun`);
  }

  /** The same of a call of this end, of which a part of the answer has come. */
  answerTo(id: number): Stream | undefined {
    const stream = this.at(id);
    if (!this.isMine(id)) throw new ProtocolFault(`stream ${id} is answered by who calls`);
    if (stream?.receiveEnded) throw new ProtocolFault(`stream ${id} is answered behind its end`);
    return stream;
  }

  /** Whether it was there. */
  delete(stream: Stream): boolean {
    const isThere = this.#streams.delete(stream);
    if (isThere && this.isMine(stream.id)) this.#mine--;
    return isThere;
  }

  /** All of them in the order of their numbers, which may end meanwhile. */
  all(): Stream[] {
    return this.#streams.all();
  }

  clear(): void {
    this.#streams.clear();
    this.#mine = 0;
  }
}
