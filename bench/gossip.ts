import { byteRows } from "./gossip/bytes.js";
import { healRows } from "./gossip/heal.js";
import { print } from "./table.js";

export async function gossip(quick: boolean): Promise<boolean> {
  const bytes = print(
    "Gossip map: bytes of one changed key, against a full digest of 100,000 keys",
    await byteRows(quick),
  );
  const heal = print("Gossip map: convergence", await healRows(quick));
  return bytes && heal;
}
