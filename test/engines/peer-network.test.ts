import { peerCases } from "../support/peer-cases.js";
import { type NetworkPeer, PeerNetwork } from "../support/peer-network.js";

peerCases(async () => {
  const network = new PeerNetwork();
  const peers = [network.join(), network.join(), network.join()];
  return {
    peers,
    close: async (peer) => (peer as NetworkPeer).leave(),
    [Symbol.asyncDispose]: async () => {
      for (const peer of peers) peer.leave();
    },
  };
});
