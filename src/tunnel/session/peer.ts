import type { Settings } from "../wire/frame.js";
import { ProtocolError } from "../wire/protocol-error.js";

/** The settings of a peer until its first SETTINGS frame. */
export const DEFAULT_PEER_SETTINGS = {
  streamWindow: 64 * 1024,
  connectionWindow: 256 * 1024,
  calls: 100,
  headerBytes: 16 * 1024,
};

/** The settings of a peer, with the defaults for those that it has not sent. */
export type PeerSettings = Settings & typeof DEFAULT_PEER_SETTINGS;

/** The state of the other end, as far as a session knows it. */
export class Peer {
  settings: PeerSettings = DEFAULT_PEER_SETTINGS;
  hasSentSettings = false;
  hasSentGoaway = false;

  /** Applies a SETTINGS frame. Returns the settings before it. Throws a ProtocolError if a window would shrink. */
  update(settings: Settings): PeerSettings {
    const before = this.settings;
    this.settings = { ...before, ...settings };
    this.hasSentSettings = true;
    const { streamWindow, connectionWindow } = this.settings;
    if (streamWindow < before.streamWindow || connectionWindow < before.connectionWindow) {
      throw new ProtocolError("a window is smaller than it was before");
    }
    return before;
  }
}
