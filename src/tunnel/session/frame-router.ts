import { ConnectError } from "@connectrpc/connect";
import type { IncomingCalls } from "../answer/incoming-calls.js";
import { FRAME_COST } from "../flow/frame-cost.js";
import type { ReceiveWindow } from "../flow/receive-window.js";
import type { Sender } from "../flow/sender.js";
import type { Stream } from "../flow/stream.js";
import type { StreamTable } from "../flow/stream-table.js";
import type { Heartbeat } from "../heartbeat.js";
import {
  type CallStatus,
  type FrameReceiver,
  type HeaderList,
  OK_STATUS,
  type Settings,
} from "../wire/frame.js";
import { ProtocolError } from "../wire/protocol-error.js";
import { writePong } from "../wire/write-frame.js";

/** The parts of a session that received frames go to. */
export interface RoutedSession {
  readonly streams: StreamTable;
  readonly incoming: IncomingCalls;
  readonly receiveWindow: ReceiveWindow;
  readonly sender: Sender;
  readonly heartbeat: Heartbeat;
  onSettings(settings: Settings): void;
  onGoaway(lastId: number): void;
  /** Removes a stream that the other end has reset. */
  remove(stream: Stream): void;
  /** Streams have been removed: the session may be idle now. */
  updateBusy(): void;
}

/** Routes received frames to their streams, and checks that each is allowed at this point. */
export class FrameRouter implements FrameReceiver {
  isClosed = false;
  readonly #session: RoutedSession;

  constructor(session: RoutedSession) {
    this.#session = session;
  }

  settings(settings: Settings): void {
    this.#session.onSettings(settings);
  }

  call(id: number, method: number | string, timeoutMs: number | undefined, header: HeaderList): void {
    this.#session.incoming.receive(id, method, timeoutMs, header);
  }

  message(id: number, bytes: Uint8Array, end: boolean, more: boolean): void {
    const stream = this.#session.streams.find(id);
    this.#session.receiveWindow.charge(stream, bytes.length + FRAME_COST);
    if (!stream) return;
    if (stream.isReceiveClosed) throw new ProtocolError(`a message of stream ${id}, whose half has ended`);
    stream.markAccepted();
    stream.receiveMessage(bytes, more, end);
  }

  end(id: number): void {
    const { streams } = this.#session;
    const stream = streams.find(id);
    if (streams.isLocal(id)) throw new ProtocolError(`stream ${id} is answered, and ends without a status`);
    if (stream?.isReceiveClosed) throw new ProtocolError(`stream ${id} ends twice`);
    stream?.receiveEnd(OK_STATUS);
  }

  headers(id: number, header: HeaderList): void {
    const stream = this.#session.streams.findForResponse(id);
    if (!stream) return;
    if (stream.hasResponse) throw new ProtocolError(`the headers of stream ${id} come again or late`);
    stream.hasResponse = true;
    stream.markAccepted();
    stream.events.onHeaders?.(header);
  }

  status(id: number, status: CallStatus): void {
    const stream = this.#session.streams.findForResponse(id);
    stream?.markAccepted();
    stream?.receiveEnd(status);
  }

  reset(id: number, code: number): void {
    if (code < 1 || code > 16) throw new ProtocolError(`a reset has the code ${code}: they are 1 to 16`);
    const { streams, incoming } = this.#session;
    if (!streams.isLocal(id)) incoming.countReset();
    const stream = streams.find(id);
    if (!stream) return;
    this.#session.remove(stream);
    stream.destroy();
    stream.events.onError(new ConnectError("the other end gave the call up", code));
    this.#session.updateBusy();
  }

  credit(id: number, bytes: number): void {
    const { sender, streams } = this.#session;
    if (id === 0) {
      sender.credit = addCredit(sender.credit, bytes);
      sender.schedule();
      return;
    }
    const stream = streams.find(id);
    if (!stream) return;
    stream.markAccepted();
    stream.sendCredit = addCredit(stream.sendCredit, bytes);
    stream.flush();
  }

  ping(number: number): void {
    writePong(this.#session.sender.batch, number);
  }

  pong(number: number): void {
    const { heartbeat, receiveWindow } = this.#session;
    const tookMs = heartbeat.pong(number);
    if (tookMs !== undefined) receiveWindow.onRoundTrip(tookMs, heartbeat.rttMs);
  }

  goaway(lastId: number): void {
    this.#session.onGoaway(lastId);
  }
}

/** Throws a ProtocolError if the sum would not be exact. */
export function addCredit(credit: number, added: number): number {
  if (credit + added > Number.MAX_SAFE_INTEGER) throw new ProtocolError("more credit than a number holds");
  return credit + added;
}
