/** `webhooks`: where people are told, and what could not be told. */
import { Option, type Command } from "commander";

import { MESSAGE_KINDS } from "../../core/webhook.ts";
import { member, paint, textOf, writeHint, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Terminal } from "./terminal.ts";

const WEBHOOK_COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "url", value: "url" },
  { title: "kinds", value: "kinds" },
  { title: "created", value: "created_at" },
];

const DELIVERY_COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "webhook", value: "webhook" },
  { title: "kind", value: "kind" },
  { title: "state", value: "state" },
  { title: "tries", value: "tries", align: "right" },
  { title: "last result", value: "last_result" },
  { title: "created", value: "created_at" },
  { title: "next try", value: "due_at" },
];

export function addWebhooks(program: Command, terminal: Terminal): void {
  const webhooks = program
    .command("webhooks")
    .description("webhooks: signed messages to your own systems");
  addChanges(webhooks, terminal);
  addDeliveries(webhooks, terminal);
}

function addChanges(webhooks: Command, terminal: Terminal): void {
  const list = session.paged(webhooks.command("list").description("list the webhooks"));
  session.act(list, terminal, async (s) => {
    const query = session.pageQuery(s);
    const reply = await s.ask({ method: "GET", path: "/api/webhooks", query, scope: "admin" });
    const none = `No webhook yet: ${session.typed(s, "webhooks create URL")}`;
    session.showList(s, reply, { columns: WEBHOOK_COLUMNS, none });
  });
  const create = webhooks
    .command("create")
    .description("create one and show its signing secret, once")
    .argument("<url>", "https://…")
    .addOption(new Option("--kind <kind...>", "only these (default: all)").choices(MESSAGE_KINDS));
  session.act(create, terminal, async (s) => {
    const kinds = session.repeated(s.options, "kind");
    const body = { url: s.argument(0), kinds: kinds.length === 0 ? null : kinds };
    const reply = await s.ask({ method: "POST", path: "/api/webhooks", body, scope: "admin" });
    if (s.json) return session.writeJson(s, reply);
    terminal.out(`${paint(terminal, "bold", textOf(member(reply.body, "secret")))}\n`);
    const id = textOf(member(reply.body, "id"));
    writeHint(terminal, `${id}: keep the secret now, it is not shown again.`);
  });
  const remove = webhooks
    .command("remove")
    .description("remove one; what waits for it is not sent any more")
    .argument("<id>", "whk_…");
  session.act(remove, terminal, async (s) => {
    const path = `/api/webhooks/${encodeURIComponent(s.argument(0))}`;
    const reply = await s.ask({ method: "DELETE", path, scope: "admin" });
    session.showDone(s, reply, `Removed ${s.argument(0)}.`);
  });
}

function addDeliveries(webhooks: Command, terminal: Terminal): void {
  const test = webhooks.command("test").description("send a ping").argument("<id>", "whk_…");
  session.act(test, terminal, async (s) => {
    const path = `/api/webhooks/${encodeURIComponent(s.argument(0))}/test`;
    const reply = await s.ask({ method: "POST", path, body: {}, scope: "admin" });
    const id = textOf(member(reply.body, "id"));
    session.showDone(s, reply, `${id} is on its way: ${session.typed(s, "webhooks deliveries")}`);
  });
  const states = ["pending", "delivered", "dead"];
  const deliveries = webhooks
    .command("deliveries")
    .description("list the messages, newest first")
    .addOption(new Option("--state <state>", "only those").choices(states));
  session.act(session.paged(deliveries), terminal, async (s) => {
    const query = { ...session.pageQuery(s), state: session.option(s.options, "state") };
    const reply = await s.ask({ method: "GET", path: "/api/deliveries", query, scope: "admin" });
    session.showList(s, reply, { columns: DELIVERY_COLUMNS, none: "Nothing was sent yet." });
  });
  const dead = webhooks.command("dead").description("list the messages that no try delivered");
  session.act(session.paged(dead), terminal, async (s) => {
    const query = { ...session.pageQuery(s), state: "dead" };
    const reply = await s.ask({ method: "GET", path: "/api/deliveries", query, scope: "admin" });
    session.showList(s, reply, { columns: DELIVERY_COLUMNS, none: "Nothing is dead." });
  });
  const redeliver = webhooks
    .command("redeliver")
    .description("send a dead message anew")
    .argument("<id>", "dlv_…");
  session.act(redeliver, terminal, async (s) => {
    const path = `/api/deliveries/${encodeURIComponent(s.argument(0))}/redeliver`;
    const reply = await s.ask({ method: "POST", path, body: {}, scope: "admin" });
    session.showDone(s, reply, `${s.argument(0)} is on its way again.`);
  });
}
