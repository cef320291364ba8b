import { ProtocolError } from "../wire/protocol-error.js";
import type { Stream } from "./stream.js";
import { StreamMap } from "./stream-map.js";

/** The open streams of a session by their numbers: odd ones are the dialler's calls, even ones the acceptor's. */
export class StreamTable {
  readonly #streams = new StreamMap();
  #nextId: number;
  #mine = 0;
  /** The last stream that the other end has begun. */
  lastRemoteId = 0;
  /** Whether calls of the other end are not taken any more: what belongs to them is passed over. */
  hasSentGoaway = false;

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
  get localCount(): number {
    return this.#mine;
  }

  /** Whether a stream of that number is a call of this end. */
  isLocal(id: number): boolean {
    return id % 2 === this.#nextId % 2;
  }

  /** Opens the next call of this end. */
  addLocal(stream: Stream): void {
    stream.id = this.#nextId;
    this.#nextId += 2;
    this.#mine++;
    this.#streams.add(stream);
  }

  /** Throws unless a call of the other end may have that number. */
  checkRemoteId(id: number): void {
    if (!this.isLocal(id) && id > this.lastRemoteId) return;
    throw new ProtocolError(
      `a call has the number ${id}: it has to be the caller's, and above ${this.lastRemoteId}`,
    );
  }

  /** Opens a call of the other end. */
  addRemote(id: number, stream: Stream): void {
    this.lastRemoteId = stream.id = id;
    this.#streams.add(stream);
  }

  /** The stream of that number; undefined if it is over. Throws if there never was one. */
  find(id: number): Stream | undefined {
    const stream = this.#streams.get(id);
    if (stream) return stream;
    if (this.isLocal(id) ? id < this.#nextId : id <= this.lastRemoteId || this.hasSentGoaway)
      return undefined;
    throw new ProtocolError(`stream ${id} has not begun`);
  }

  /** The same of a call of this end, of which a part of the answer has come. */
  findForResponse(id: number): Stream | undefined {
    const stream = this.find(id);
    if (!this.isLocal(id)) throw new ProtocolError(`stream ${id} is answered by who calls`);
    if (stream?.isReceiveClosed) throw new ProtocolError(`stream ${id} is answered behind its end`);
    return stream;
  }

  /** Whether it was there. */
  delete(stream: Stream): boolean {
    const isThere = this.#streams.delete(stream);
    if (isThere && this.isLocal(stream.id)) this.#mine--;
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
