import { Code } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { errorMetadata, expectMalformed, expectRefusal } from "../expect-refusal.js";
import { REQUIRED } from "../rules.js";
import { ERROR, entryOf, type MapCalls, OK } from "./calls.js";

const NOT_PRIMARY = "not the primary of the partition";

/** Cases of Backup and of the primary of a partition. */
export function mapBackupCases(on: DeclareCase<MapCalls>): void {
  backupCases(on);
  backupTermCases(on);
  primaryCases(on);
}

function backupCases(on: DeclareCase<MapCalls>): void {
  on(["Backup", "duplex"], "entries that are backed up are there, with their versions", async (at) => {
    equal(await at.backup(at.header, [entryOf("a", [1, 5], "1"), entryOf("b", [1, 6], "2")]), [OK]);
    equal(await at.get("a"), { text: "1", version: 5n });
    equal(await at.get("b"), { text: "2", version: 6n });
  });

  on(["Backup", "duplex"], "of the same term the later timestamp stays", async (at) => {
    const requests = [[entryOf("k", [1, 5], "5")], [entryOf("k", [1, 4], "4")], [entryOf("k", [1, 5], "55")]];
    equal(await at.backup(at.header, ...requests), [OK, OK, OK]);
    equal(await at.get("k"), { text: "5", version: 5n });
    equal(await at.backup(at.header, [entryOf("k", [1, 6], "6")]), [OK]);
    equal((await at.get("k"))?.text, "6");
  });

  on(["Backup", "duplex"], "an entry without a value deletes", async (at) => {
    equal(await at.backup(at.header, [entryOf("k", [1, 5], "1")], [entryOf("k", [1, 6])]), [OK, OK]);
    equal(await at.get("k"), undefined);
  });

  on(
    ["Backup", "duplex"],
    "a deletion is remembered: an earlier put that comes late does not bring the key back",
    async (at) => {
      equal(await at.backup(at.header, [entryOf("k", [1, 6])], [entryOf("k", [1, 5], "late")]), [OK, OK]);
      equal(await at.get("k"), undefined);
    },
  );

  on(
    ["Backup", "duplex"],
    "there is one BackupResponse for each BackupRequest, also for an empty one",
    async (at) => {
      const requests = [[entryOf("a", [1, 1], "1")], [], [entryOf("b", [1, 2], "2")], []];
      equal(await at.backup(at.header, ...requests), [OK, OK, OK, OK]);
    },
  );
}

function backupTermCases(on: DeclareCase<MapCalls>): void {
  on(
    ["Backup", "duplex", "backup group"],
    "a request of an older term is answered with ERROR, and nothing of it is applied",
    async (at) => {
      const statuses = await at.backup(
        at.backupHeader,
        [entryOf("a", [2, 10], "1")],
        [entryOf("b", [1, 50], "2"), entryOf("c", [1, 51], "3")],
        [entryOf("d", [2, 11], "4")],
      );
      equal(statuses, [OK, ERROR, OK]);
    },
  );

  on(
    ["Backup", "duplex", "backup group"],
    "an older term is refused on another stream as well",
    async (at) => {
      equal(await at.backup(at.backupHeader, [entryOf("a", [2, 10], "1")]), [OK]);
      equal(await at.backup(at.backupHeader, [entryOf("b", [1, 99], "2")]), [ERROR]);
      equal(await at.backup(at.backupHeader, [entryOf("b", [3, 1], "2")]), [OK]);
      equal(await at.backup(at.backupHeader, [entryOf("c", [2, 100], "3")]), [ERROR]);
    },
  );

  on(
    ["Backup", "duplex", "led group"],
    "a primary refuses entries of its own term: it is the one who writes in it",
    async (at) => {
      const version = await at.put("k", "1", { at: at.ledHeader });
      equal(await at.backup(at.ledHeader, [entryOf("k", [at.ledTerm, 1000], "x")]), [ERROR]);
      equal(await at.get("k", at.ledHeader), { text: "1", version });
    },
  );

  on([REQUIRED, "duplex"], "an entry needs a key and a digest, and a request its header", async (at) => {
    await expectMalformed(at.backup(at.header, [{ ...entryOf("", [1, 1], "v") }]), "entries[0].key");
    await expectMalformed(at.backup(at.header, [{ key: "k" }]), "entries[0].digest");
    await expectMalformed(at.backup({}, []), "header.protocol");
  });
}

function primaryCases(on: DeclareCase<MapCalls>): void {
  const calls: [rpc: string, call: (at: MapCalls) => Promise<unknown>][] = [
    ["Get", (at) => at.get("k", at.backupHeader)],
    ["Put", (at) => at.maps.put({ header: at.backupHeader, key: "k", value: {} })],
    ["Remove", (at) => at.maps.remove({ header: at.backupHeader, key: "k" })],
  ];
  for (const [rpc, call] of calls) {
    on(
      [NOT_PRIMARY, "backup group"],
      `${rpc} on a backup is unavailable, with the primary's address`,
      async (at) => {
        const error = await expectRefusal(call(at), Code.Unavailable);
        equal(errorMetadata(error)?.["primary"], at.stores.backupGroup?.primary);
        ok(error.findDetails(RetryInfoSchema)[0], "RetryInfo says when to try again");
      },
    );
  }

  on(
    [NOT_PRIMARY, "duplex", "led group"],
    "a primary that a later term has replaced is none any more, and knows no other",
    async (at) => {
      const place = { at: at.ledHeader };
      await at.put("k", "1", place);
      equal(await at.backup(at.ledHeader, [entryOf("k", [at.ledTerm + 1, 90], "9")]), [OK]);
      const [get, put] = [() => at.get("k", at.ledHeader), () => at.put("k", "2", place)];
      for (const call of [get, put, () => at.remove("k", place)]) {
        const error = await expectRefusal(call(), Code.Unavailable);
        equal(errorMetadata(error)?.["primary"], undefined);
      }
    },
  );
}
