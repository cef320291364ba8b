import type { FileStore } from "../files.js";
import { deleteFile, type StorePlace, statFile } from "./calls.js";
import { getFile, putFile } from "./transfer.js";

/** The operations of createFiles() on single files. */
export const fileOperations = (place: StorePlace): Omit<FileStore, "list"> => ({
  put: (name, content, options = {}) => putFile(place, name, content, options),
  get: (name, options = {}) => getFile(place, name, options),
  stat: (name, call = {}) => statFile(place, name, call),
  delete: (name, call = {}) => deleteFile(place, name, call),
});
