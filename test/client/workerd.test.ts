import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { unstable_readConfig as readWrangler } from "wrangler";

const ROOT = join(import.meta.dirname, "..", "..");

/** A Worker of a user's: two runs at once, whose steps ask a gate that says what it was asked. */
const WORKER = `
import { createClient } from ${JSON.stringify(join(ROOT, "src/client/client.ts"))};
export default {
  async fetch() {
    const asked = [];
    const gate = createClient({
      baseURL: "http://gate.test",
      apiKey: "k",
      fetch: async (url, init) => {
        const { run, name } = JSON.parse(init.body);
        if (url.endsWith("/api/gate")) asked.push(run + " " + name);
        await scheduler.wait(1);
        return Response.json({ verdict: "allow", attempt_id: "att", run, lease_seconds: 60 });
      },
    });
    const work = (run) =>
      gate.run({ run }, async () => {
        await scheduler.wait(1);
        return await gate.step({ name: "s" }, () => gate.headers());
      });
    const given = await Promise.all([work("a"), work("b")]);
    return Response.json({ asked: asked.sort(), given });
  },
};`;

test("on Cloudflare's runtime run and step travel by themselves", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tollgate-client-workerd-"));
  const { compatibility_date: date } = readWrangler({ config: join(ROOT, "wrangler.toml") });
  await build({
    stdin: { contents: WORKER, resolveDir: ROOT },
    bundle: true,
    format: "esm",
    outfile: join(folder, "worker.js"),
    conditions: ["workerd", "worker", "browser"],
  });
  await writeFile(
    join(folder, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ ( name = "worker", worker = .worker ) ],
  sockets = [ ( name = "http", address = "127.0.0.1:0", http = (), service = "worker" ) ],
);
const worker :Workerd.Worker = (
  modules = [ ( name = "worker.js", esModule = embed "worker.js" ) ],
  compatibilityDate = ${JSON.stringify(date)},
);
`,
  );
  const { default: program } = createRequire(import.meta.url)("workerd") as { default: string };
  const child = spawn(program, ["serve", "--control-fd=3", "config.capnp"], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const exited = once(child, "exit");
  try {
    const [told] = (await once(child.stdio[3]!, "data")) as [Buffer];
    const port = /"port":(\d+)/u.exec(told.toString())?.[1];
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    expect(await answer.json()).toEqual({
      asked: ["a s", "b s"],
      given: [
        { "tollgate-run": "a", "tollgate-parent-step": "s" },
        { "tollgate-run": "b", "tollgate-parent-step": "s" },
      ],
    });
  } finally {
    child.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true, force: true });
  }
});
