/** Run by `keeper.test.ts`: starts a child that would outlive it, and says when it is kept. */
import { spawn } from "node:child_process";
import { keep } from "./keeper.ts";

keep(spawn("/bin/sleep", ["600"], { stdio: "inherit" }));
process.stdout.write("kept\n");
