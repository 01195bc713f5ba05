import { readFileSync } from "node:fs";

import type { ConfigFiles } from "./config.ts";

/** The configuration's files on this machine's disk. */
export const diskFiles: ConfigFiles = {
  read: (path) => {
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (isAbsent) return null;
      throw error;
    }
  },
};
