#!/usr/bin/env node
/** The command `tollgate` begins here. What it writes to standard error is its own: nothing is said of the bundle. */
import { findProgram } from "../bundle.js";

const { main } = await import(findProgram("cli/main").url);
await main();
