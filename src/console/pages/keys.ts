/** Keys: who may what; made and shown once, replaced, revoked. */
import { html } from "hono/html";

import { IssuedKey, Key, listOf, SCOPES } from "../answers.ts";
import { when, whenOrDash, type Markup } from "../figures.ts";
import { ROWS_SHOWN } from "../limits.ts";
import {
  actForm,
  badge,
  card,
  confirmed,
  empty,
  facts,
  field,
  heading,
  pager,
  problemAbove,
  problemAt,
  problemBox,
  shortId,
  table,
} from "../page.ts";
import {
  NOTHING_GIVEN,
  type Asked,
  type Form,
  type Given,
  type Outcome,
  type Page,
  type Routes,
  type Sent,
  type Visit,
} from "../visit.ts";

export function keyPages({ page, act }: Routes): void {
  page("/keys", (asked) => listPage(asked, NOTHING_GIVEN));
  act("/keys", create);
  page("/keys/:key", (asked) => keyPage(asked, NOTHING_GIVEN));
  act("/keys/:key/rotate", rotate);
  act("/keys/:key/revoke", revoke);
}

const SCOPE_HINTS: Readonly<Record<(typeof SCOPES)[number], string>> = {
  invoke: "calls models and tools",
  report: "reads runs, decisions and spend",
  approve: "answers approvals",
  admin: "manages keys, budgets and policies",
};

async function listPage({ visit, query }: Asked, given: Given): Promise<Page> {
  const asked = { cursor: query("cursor"), limit: ROWS_SHOWN };
  const { data, next } = await visit.api.get(listOf(Key), "/keys", asked);
  const body = html`${heading("Keys", { lead: "One for each program and person, so that each can be revoked alone." })}
  ${problemAbove(given)}
  ${data.length === 0 ? empty("There is none yet. Make the first below.") : keysTable(visit, data)}
  ${pager(visit, "/keys", { next })}
  ${card("Make a key", html`${problemAt(given)} ${createForm(visit, given.form)}`)}`;
  return { title: "Keys", body };
}

function keysTable(visit: Visit, keys: readonly Key[]): Markup {
  return table(
    "Keys",
    [
      { title: "Name", cell: ({ id, name }) => html`<a href="${keyHref(visit, id)}">${name}</a>` },
      { title: "State", cell: (key) => badge(stateOf(key)) },
      { title: "Scopes", cell: ({ scopes }) => scopes.join(", ") },
      { title: "Created", cell: ({ created_at: at }) => when(at, visit.now) },
      { title: "Expires", cell: ({ expires_at: at }) => whenOrDash(at, visit.now) },
    ],
    keys,
  );
}

/** By its id, which is all that others know of it; whom it is for leads to its page. */
export function keyLink(visit: Visit, id: string): Markup {
  if (!visit.may("admin") || !id.startsWith("key_")) return shortId(id);
  return html`<a href="${keyHref(visit, id)}">${shortId(id)}</a>`;
}

function keyHref(visit: Visit, id: string): string {
  return visit.href(`/keys/${encodeURIComponent(id)}`);
}

function stateOf({ active, revoked_at: revoked }: Key): string {
  if (revoked !== null) return "revoked";
  return active ? "active" : "expired";
}

function createForm(visit: Visit, form: Form | null): Markup {
  const chosen = form?.all("scope") ?? ["invoke"];
  const fields = html`<div class="fields">
      ${field("Name", html`<input name="name" required maxlength="128" value="${form?.text("name") ?? ""}" />`, "Who or what uses it.")}
      ${field("Expires", html`<input type="date" name="expires" value="${form?.text("expires") ?? ""}" />`, "At midnight UTC; empty: never.")}
      ${field("Tools", html`<input name="tools" maxlength="4096" value="${form?.text("tools") ?? ""}" />`, html`Of servers, that it may call, as <code>files/* pay/balance</code>; empty: all.`)}
      ${field("Role", html`<input name="role" maxlength="256" value="${form?.text("role") ?? ""}" />`, "Among approvers, where a policy asks for one.")}
    </div>
    <fieldset class="checks">
      <legend>Scopes</legend>
      ${SCOPES.map(
        (scope) =>
          html`<label
            ><input
              type="checkbox"
              name="scope"
              value="${scope}"
              ${chosen.includes(scope) ? html`checked` : ""}
            />
            <span><strong>${scope}</strong> ${SCOPE_HINTS[scope]}</span></label
          >`,
      )}
    </fieldset>`;
  return actForm(visit, "/keys", { fields, button: "Make the key" });
}

async function create({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const [expires, role] = [form.text("expires"), form.text("role")];
  const tools = form
    .text("tools")
    .split(/\s+/u)
    .filter((glob) => glob !== "");
  const acted = await visit.api.act({
    method: "POST",
    path: "/keys",
    body: {
      name: form.text("name"),
      scopes: form.all("scope"),
      ...(role === "" ? {} : { labels: { role } }),
      ...(tools.length === 0 ? {} : { tools }),
      ...(expires === "" ? {} : { expires_at: `${expires}T00:00:00Z` }),
    },
    once: form.text("once"),
  });
  if (acted.kind === "refused") {
    const page = await listPage({ visit, ...asked }, { form, problem: acted.message });
    return { kind: "again", status: acted.status, page };
  }
  return issued(visit, IssuedKey.parse(acted.body));
}

function issued(visit: Visit, { name, key }: { name: string; key: string }): Outcome {
  return { kind: "done", to: visit.href("/keys"), text: `The key ${name} is made.`, secret: key };
}

async function keyPage({ visit, param }: Asked, { problem }: Given): Promise<Page> {
  const key = await visit.api.get(Key, `/keys/${encodeURIComponent(param("key"))}`);
  const path = `/keys/${encodeURIComponent(key.id)}`;
  const up = html`<a href="${visit.href("/keys")}">Keys</a>`;
  const isOwn = visit.self.key === key.id;
  const why = isOwn
    ? "It is the key that you are signed in with: you are signed out at once."
    : "Whoever uses it is refused, here at once and on every process within two seconds.";
  const body = html`${heading(key.name, { up, state: badge(stateOf(key)) })} ${problemBox(problem)}
  ${card("About it", keyFacts(visit, key))}
  ${
    key.active
      ? html`${confirmed(
          "Replace this key…",
          "A new key with the same scopes is made. Both work until this one is revoked.",
          actForm(visit, `${path}/rotate`, { button: "Make the new key" }),
        )}
        ${confirmed("Revoke this key…", why, actForm(visit, `${path}/revoke`, { button: "Revoke the key", tone: "danger" }))}`
      : ""
  }`;
  return { title: `Key ${key.name}`, body };
}

function keyFacts(visit: Visit, key: Key): Markup {
  return facts([
    ["Id", html`<code>${key.id}</code>`],
    ["Scopes", key.scopes.join(", ")],
    ["Tools", key.tools === null ? "all" : key.tools.join(", ") || "none"],
    ["Created", when(key.created_at, visit.now)],
    ["Expires", whenOrDash(key.expires_at, visit.now)],
    ...(key.revoked_at === null ? [] : [["Revoked", when(key.revoked_at, visit.now)] as const]),
    ...Object.entries(key.labels).map(([name, value]) => [name, value] as const),
  ]);
}

async function rotate({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const path = `/keys/${encodeURIComponent(asked.param("key"))}/rotate`;
  const acted = await visit.api.act({ method: "POST", path, body: {}, once: form.text("once") });
  if (acted.kind === "done") return issued(visit, IssuedKey.parse(acted.body));
  const page = await keyPage({ visit, ...asked }, { form, problem: acted.message });
  return { kind: "again", status: acted.status, page };
}

async function revoke({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const path = `/keys/${encodeURIComponent(asked.param("key"))}`;
  const acted = await visit.api.act({ method: "DELETE", path, once: form.text("once") });
  if (acted.kind === "done") {
    return { kind: "done", to: visit.href("/keys"), text: "The key is revoked." };
  }
  const page = await keyPage({ visit, ...asked }, { form, problem: acted.message });
  return { kind: "again", status: acted.status, page };
}
