import type { ClientOptions } from "../../src/index.js";
import { entriesMutants } from "./mutants/entries.js";
import { errorsMutants } from "./mutants/errors.js";
import { filesMutants } from "./mutants/files.js";
import { leasesMutants } from "./mutants/leases.js";
import { mapsMutants } from "./mutants/maps.js";
import { settingsMutants } from "./mutants/settings.js";
import { streamsMutants } from "./mutants/streams.js";
import type { Tamper } from "./tamper.js";

/** A client that does one thing wrong, and the scenarios that must tell. */
export interface Mutant {
  name: string;
  told: readonly string[];
  tamper?: Tamper;
  options?: ClientOptions;
  /** Told by when it does something: not while the code is still cold and much else goes on. */
  timed?: boolean;
}

/** All of them. */
export const mutants: readonly Mutant[] = [
  ...errorsMutants,
  ...entriesMutants,
  ...leasesMutants,
  ...streamsMutants,
  ...filesMutants,
  ...mapsMutants,
  ...settingsMutants,
];
