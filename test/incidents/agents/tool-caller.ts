/** Asks the step door for a tool, runs it, and stands still before it says so: to be killed there. */
import { given, say, stand } from "./say.ts";

const response = await fetch(`${given("GATE_URL")}/api/gate`, {
  method: "POST",
  headers: { authorization: `Bearer ${given("GATE_KEY")}`, "content-type": "application/json" },
  body: given("ASK"),
});
const { attempt_id: attempt } = (await response.json()) as { readonly attempt_id?: string };
say("answered", { status: response.status, attempt: attempt ?? null });
if (attempt !== undefined) {
  const body = JSON.stringify({ order: given("ORDER") });
  await fetch(`${given("BANK_URL")}/wires`, { method: "POST", body });
  await stand("before it says so");
}
