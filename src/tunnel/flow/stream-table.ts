import { ProtocolError } from "../wire/protocol-error.js";
import type { Stream } from "./stream.js";
import { StreamMap } from "./stream-map.js";

/**
 * The open streams of a session. Local ones are calls of this end, remote ones calls of the other end; the dialler's
 * have odd ids, the acceptor's even ones.
 */
export class StreamTable {
  readonly #streams = new StreamMap();
  #nextId: number;
  #localCount = 0;
  /** The id of the last remote stream. */
  lastRemoteId = 0;
  /** Whether GOAWAY was sent: frames of later remote streams are ignored. */
  hasSentGoaway = false;

  constructor(isDialler: boolean) {
    this.#nextId = isDialler ? 1 : 2;
  }

  /** The id of the next local stream. */
  get nextId(): number {
    return this.#nextId;
  }

  get size(): number {
    return this.#streams.size;
  }

  get localCount(): number {
    return this.#localCount;
  }

  isLocal(id: number): boolean {
    return id % 2 === this.#nextId % 2;
  }

  /** Adds a local stream, with the next id. */
  addLocal(stream: Stream): void {
    stream.id = this.#nextId;
    this.#nextId += 2;
    this.#localCount++;
    this.#streams.add(stream);
  }

  /** Throws a ProtocolError unless a new remote stream may have this id. */
  checkRemoteId(id: number): void {
    if (!this.isLocal(id) && id > this.lastRemoteId) return;
    throw new ProtocolError(
      `a call has the number ${id}: it has to be the caller's, and above ${this.lastRemoteId}`,
    );
  }

  addRemote(id: number, stream: Stream): void {
    this.lastRemoteId = stream.id = id;
    this.#streams.add(stream);
  }

  /** The stream of this id, or undefined if it is closed. Throws a ProtocolError if it never began. */
  find(id: number): Stream | undefined {
    const stream = this.#streams.get(id);
    if (stream) return stream;
    const hasBegun = this.isLocal(id) ? id < this.#nextId : id <= this.lastRemoteId || this.hasSentGoaway;
    if (hasBegun) return undefined;
    throw new ProtocolError(`stream ${id} has not begun`);
  }

  /** As find(), for a frame of a response: throws if the stream is remote or its response has ended. */
  findForResponse(id: number): Stream | undefined {
    const stream = this.find(id);
    if (!this.isLocal(id)) throw new ProtocolError(`stream ${id} is answered by who calls`);
    if (stream?.isReceiveClosed) throw new ProtocolError(`stream ${id} is answered behind its end`);
    return stream;
  }

  /** Returns whether the stream was in the table. */
  delete(stream: Stream): boolean {
    const wasOpen = this.#streams.delete(stream);
    if (wasOpen && this.isLocal(stream.id)) this.#localCount--;
    return wasOpen;
  }

  /** A copy of all streams, in the order of their ids. */
  all(): Stream[] {
    return this.#streams.all();
  }

  clear(): void {
    this.#streams.clear();
    this.#localCount = 0;
  }
}
