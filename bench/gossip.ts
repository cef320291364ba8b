import { byteRows } from "./gossip/bytes.js";
import { freshRows } from "./gossip/fresh.js";
import { healRows } from "./gossip/heal.js";
import { localRows } from "./gossip/local.js";
import { print } from "./table.js";

export async function gossip(quick: boolean): Promise<boolean> {
  const local = print("Gossip map: local reads and writes, against other replicated maps", await localRows());
  const fresh = print("Gossip map: a fresh replica", await freshRows(quick));
  const bytes = print(
    "Gossip map: bytes of one changed key, against a full digest of 100,000 keys",
    await byteRows(quick),
  );
  const heal = print("Gossip map: convergence", await healRows(quick));
  return [local, fresh, bytes, heal].every(Boolean);
}
