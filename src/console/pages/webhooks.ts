/** Where the tenant's systems are told what happens, and the messages that did not arrive. */
import { html } from "hono/html";

import { Delivery, IssuedWebhook, listOf, Webhook } from "../answers.ts";
import { count, when, whenOrDash, type Markup } from "../figures.ts";
import { ROWS_SHOWN } from "../limits.ts";
import {
  actForm,
  badge,
  card,
  confirmed,
  empty,
  field,
  heading,
  pager,
  problemAbove,
  problemAt,
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

export function webhookPages({ page, act }: Routes): void {
  page("/webhooks", (asked) => webhooksPage(asked, NOTHING_GIVEN));
  act("/webhooks", create);
  act("/webhooks/:webhook/test", (sent) =>
    simple(sent, { path: `/webhooks/${id(sent, "webhook")}/test`, text: "A ping is on its way." }),
  );
  act("/webhooks/:webhook/remove", (sent) =>
    simple(sent, {
      method: "DELETE",
      path: `/webhooks/${id(sent, "webhook")}`,
      text: "The webhook is removed.",
    }),
  );
  act("/deliveries/:delivery/redeliver", (sent) =>
    simple(sent, {
      path: `/deliveries/${id(sent, "delivery")}/redeliver`,
      text: "It is sent once more.",
    }),
  );
}

const KINDS = [
  "approval.requested",
  "approval.approved",
  "approval.denied",
  "approval.cancelled",
  "budget.threshold",
  "budget.forecast",
  "report.ready",
];
const STATES = ["all", "pending", "delivered", "dead"];

function id({ param }: Sent, name: string): string {
  return encodeURIComponent(param(name));
}

async function webhooksPage({ visit, query }: Asked, given: Given): Promise<Page> {
  const state = query("state") ?? "all";
  const asked = {
    state: state === "all" ? null : state,
    cursor: query("cursor"),
    limit: ROWS_SHOWN,
  };
  const [hooks, deliveries] = await Promise.all([
    visit.api.get(listOf(Webhook), "/webhooks", { limit: ROWS_SHOWN }),
    visit.api.get(listOf(Delivery), "/deliveries", asked),
  ]);
  const lead = "Signed messages to your systems, tried for most of a day.";
  const body = html`${heading("Webhooks", { lead })} ${problemAbove(given)}
  ${
    hooks.data.length === 0
      ? empty(
          "Nobody is told anything yet. Give an address below, to be told of approvals, budgets and reports.",
        )
      : html`<ul class="cards">
          ${hooks.data.map((hook) => html`<li class="card">${hookCard(visit, hook)}</li>`)}
        </ul>`
  }
  ${card("Messages", messages(visit, { state, deliveries: deliveries.data, next: deliveries.next }))}
  ${card("Add a webhook", html`${problemAt(given)} ${createForm(visit, given.form)}`)}`;
  return { title: "Webhooks", body };
}

function hookCard(
  visit: Visit,
  { id: hook, url, kinds, created_at: at, removed_at: removed }: Webhook,
): Markup {
  const path = `/webhooks/${encodeURIComponent(hook)}`;
  return html`<p class="name"><code>${url}</code> ${removed === null ? "" : badge("removed")}</p>
    <p class="note">${kinds.join(", ")}; added ${when(at, visit.now)}</p>
    ${
      removed === null
        ? html`<div class="buttons">
            ${actForm(visit, `${path}/test`, { button: "Send a ping", tone: "quiet" })}
            ${confirmed("Remove…", "What waits for it is not sent any more.", actForm(visit, `${path}/remove`, { button: "Remove the webhook", tone: "danger" }))}
          </div>`
        : ""
    }`;
}

type Messages = {
  readonly state: string;
  readonly deliveries: readonly Delivery[];
  readonly next: string | null;
};

function messages(visit: Visit, { state, deliveries, next }: Messages): Markup {
  return html`<nav class="tabs" aria-label="State">
      ${STATES.map(
        (one) =>
          html`<a
            href="${visit.href("/webhooks", { state: one })}"
            ${one === state ? html`aria-current="true"` : ""}
            >${one}</a
          >`,
      )}
    </nav>
    ${deliveries.length === 0 ? empty("There is none.") : messagesTable(visit, deliveries)}
    ${pager(visit, "/webhooks", { next, query: { state } })}`;
}

function messagesTable(visit: Visit, deliveries: readonly Delivery[]): Markup {
  return table(
    "Messages",
    [
      { title: "Message", cell: ({ kind }) => kind },
      { title: "State", cell: ({ state }) => badge(state) },
      { title: "Tries", isNumber: true, cell: ({ tries }) => count(tries) },
      { title: "Last answer", cell: ({ last_result: result }) => result ?? "–" },
      { title: "Written", cell: ({ created_at: at }) => when(at, visit.now) },
      { title: "Next try", cell: ({ due_at: at }) => whenOrDash(at, visit.now) },
      { title: "", cell: (delivery) => redeliver(visit, delivery) },
    ],
    deliveries,
  );
}

function redeliver(visit: Visit, { id: delivery, state }: Delivery): Markup | string {
  if (state !== "dead") return "";
  const path = `/deliveries/${encodeURIComponent(delivery)}/redeliver`;
  return actForm(visit, path, { button: "Send again", tone: "quiet" });
}

function createForm(visit: Visit, form: Form | null): Markup {
  const chosen = form?.all("kind") ?? KINDS;
  const fields = html`${field("Address", html`<input type="url" name="url" required maxlength="2048" placeholder="https://example.com/hooks/tollgate" value="${form?.text("url") ?? ""}" />`)}
    <fieldset class="checks">
      <legend>Messages</legend>
      ${KINDS.map(
        (kind) =>
          html`<label
            ><input
              type="checkbox"
              name="kind"
              value="${kind}"
              ${chosen.includes(kind) ? html`checked` : ""}
            />
            <span>${kind}</span></label
          >`,
      )}
    </fieldset>`;
  return actForm(visit, "/webhooks", { fields, button: "Add the webhook" });
}

async function create({ visit, form, ...asked }: Sent): Promise<Outcome> {
  const acted = await visit.api.act({
    method: "POST",
    path: "/webhooks",
    body: { url: form.text("url"), kinds: form.all("kind") },
    once: form.text("once"),
  });
  if (acted.kind === "refused") {
    const page = await webhooksPage({ visit, ...asked }, { form, problem: acted.message });
    return { kind: "again", status: acted.status, page };
  }
  const { secret } = IssuedWebhook.parse(acted.body);
  const text = "The webhook is added. Its messages are signed with this secret.";
  return { kind: "done", to: visit.href("/webhooks"), text, secret };
}

type Simple = { readonly method?: "DELETE"; readonly path: string; readonly text: string };

async function simple(
  { visit, form, ...asked }: Sent,
  { method, path, text }: Simple,
): Promise<Outcome> {
  const once = form.text("once");
  const acted =
    method === "DELETE"
      ? await visit.api.act({ method, path, once })
      : await visit.api.act({ method: "POST", path, body: {}, once });
  if (acted.kind === "done") return { kind: "done", to: visit.href("/webhooks"), text };
  const page = await webhooksPage({ visit, ...asked }, { form: null, problem: acted.message });
  return { kind: "again", status: acted.status, page };
}
