/**
 * The web console, below `/console`: pages rendered here, of what the public API answers to the key of whoever
 * is signed in. It has no endpoint of its own for data, no script, and nothing that another origin could use.
 */
import { Hono, type Context } from "hono";

import { sha256Hex, randomSecret } from "../lib/hash.ts";
import { base32 } from "../lib/random-id.ts";
import { listOf, Self, Tenant } from "./answers.ts";
import { ApiRefused, createApi, type Query } from "./api.ts";
import { ICON } from "./icon.ts";
import { frame, mistakePage } from "./page.ts";
import { approvalPages } from "./pages/approvals.ts";
import { budgetPages } from "./pages/budgets.ts";
import { decisionPages } from "./pages/decisions.ts";
import { keyPages } from "./pages/keys.ts";
import { outcomePages } from "./pages/outcomes.ts";
import { overviewPage } from "./pages/overview.ts";
import { policyPages } from "./pages/policies.ts";
import { pricesPage } from "./pages/prices.ts";
import { runPages } from "./pages/runs.ts";
import { signInRoutes, signInPage } from "./pages/sign-in.ts";
import { tenantsPage } from "./pages/tenants.ts";
import { toolPages } from "./pages/tools.ts";
import { webhookPages } from "./pages/webhooks.ts";
import { readFields } from "./fields.ts";
import { createSessions, isFromHere, isOwnForm, type Session, type Sessions } from "./session.ts";
import { STYLE } from "./style.ts";
import type { Asked, ConsoleEnv, Form, Outcome, Page, Routes, Visit } from "./visit.ts";

export type ConsoleParts = {
  /** Seals the cookies; the same in every process of the installation. */
  readonly sealingKey: Uint8Array;
  readonly now: () => Date;
  /** Told of what went wrong here. */
  readonly faulted: (error: unknown) => void;
};

export type Console = Pick<Hono<ConsoleEnv>, "fetch">;

const STYLE_HREF = `/console/style.css?v=${sha256Hex(STYLE).slice(0, 12)}`;
/** Its address changes with it. */
const STYLE_KEPT = "public, max-age=31536000, immutable";

/** Nothing is inline, nothing comes from elsewhere, forms go here, nobody frames it, no script runs. */
const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  // Not `no-referrer`, which would make the Origin of our own forms `null`.
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=()",
};

/** What the installation's key may see without a tenant. */
const OF_NO_TENANT: ReadonlySet<string> = new Set(["/console/tenants", "/console/prices"]);

export function createConsole({ sealingKey, now, faulted }: ConsoleParts): Console {
  const app = new Hono<ConsoleEnv>();
  const sessions = createSessions(sealingKey, now);
  const show = createShow(sessions);

  app.use("*", async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) c.header(name, value);
    if (!c.res.headers.has("cache-control")) c.header("cache-control", "no-store");
  });
  app.onError((error, c) => {
    if (!(error instanceof ApiRefused)) {
      faulted(error);
      return show(c, mistakePage(500, "Something went wrong here; the log says what."), 500);
    }
    if (error.status !== 401)
      return show(c, mistakePage(error.status, error.message), error.status);
    sessions.end(c);
    c.set("visit", undefined);
    return show(c, signInPage({ next: nextOf(c), problem: signedOut(error.message) }), 401);
  });
  app.notFound((c) => show(c, mistakePage(404, "There is no such page."), 404));

  app.get("/console/style.css", (c) =>
    c.body(STYLE, 200, { "content-type": "text/css; charset=utf-8", "cache-control": STYLE_KEPT }),
  );
  app.get("/console/icon.svg", (c) =>
    c.body(ICON, 200, { "content-type": "image/svg+xml", "cache-control": STYLE_KEPT }),
  );
  signInRoutes(app, { sessions, show, now });

  const routes = routesOn(app, { sessions, show, now });
  for (const add of PAGES) add(routes);
  return app;
}

const PAGES: readonly ((routes: Routes) => void)[] = [
  overviewPage,
  outcomePages,
  runPages,
  decisionPages,
  budgetPages,
  approvalPages,
  policyPages,
  toolPages,
  keyPages,
  pricesPage,
  webhookPages,
  tenantsPage,
];

/** A form of a session that is over: it cannot be gone to again, and must not seem to have been taken. */
const NOT_DONE = "You are signed out, and nothing was done: sign in, and send it once more.";

/** Why a session ended, before what the API said of its key. */
function signedOut(message: string): string {
  return `You were signed out. ${message}`;
}

type Show = (c: Context<ConsoleEnv>, page: Page, status?: number) => Response | Promise<Response>;

/** The statuses that pages are shown with; another one is an error of ours. */
const STATUSES = [200, 400, 401, 403, 404, 408, 409, 413, 422, 429, 503] as const;

function createShow(sessions: Sessions): Show {
  return (c, page, status = 200) => {
    const flash = c.req.method === "GET" ? sessions.told(c) : null;
    const framed = frame({ visit: c.get("visit") ?? null, flash, styleHref: STYLE_HREF }, page);
    return c.html(framed, STATUSES.find((known) => known === status) ?? 500);
  };
}

type Parts = { readonly sessions: Sessions; readonly show: Show; readonly now: () => Date };

function routesOn(app: Hono<ConsoleEnv>, { sessions, show, now }: Parts): Routes {
  const read = (
    path: string,
    answer: (c: Context<ConsoleEnv>, visit: Visit) => Response | Promise<Response>,
  ) => {
    app.get(`/console${path}`, async (c) => {
      const session = sessions.read(c);
      if (session === null) return c.redirect(signInHref(c), 303);
      const visit = await enter(c, session, now());
      if (visit.tenant === null && !OF_NO_TENANT.has(visit.path)) {
        return c.redirect(await tenantHref(c, visit), 303);
      }
      return answer(c, visit);
    });
  };
  return {
    page: (path, render) =>
      read(path, async (c, visit) => show(c, await render(askedOf(c, visit)))),
    file: (path, take) => read(path, (c, visit) => take(askedOf(c, visit))),
    act: (path, run) => {
      app.post(`/console${path}`, async (c) => {
        const session = sessions.read(c);
        if (session === null) return show(c, signInPage({ next: "", problem: NOT_DONE }), 401);
        const fields = await readFields(c);
        if (!isFromHere(c) || !isOwnForm(session, fields)) {
          return show(c, mistakePage(403, "This form was not sent from this console."), 403);
        }
        const visit = await enter(c, session, now());
        const outcome = await run({ ...askedOf(c, visit), form: formOf(fields) });
        return answered(c, outcome, { sessions, show });
      });
    },
  };
}

function answered(
  c: Context<ConsoleEnv>,
  outcome: Outcome,
  { sessions, show }: Pick<Parts, "sessions" | "show">,
) {
  if (outcome.kind === "again") return show(c, outcome.page, outcome.status);
  const { pathname } = new URL(outcome.to, c.req.url);
  sessions.tell(c, pathname, { text: outcome.text, secret: outcome.secret ?? null });
  return c.redirect(outcome.to, 303);
}

/** Asks the API who this is: a key that was revoked meanwhile is refused here. */
async function enter(c: Context<ConsoleEnv>, session: Session, now: Date): Promise<Visit> {
  const wide = createApi(c.env.call, session.key, null);
  const self = await wide.get(Self, "/me");
  const isOfAll = self.kind === "installation";
  const named = c.req.query("tenant") ?? "";
  const tenant =
    isOfAll && named !== ""
      ? await wide.get(Tenant, `/tenants/${encodeURIComponent(named)}`)
      : self.tenant;
  const chosen = isOfAll ? (tenant?.id ?? null) : null;
  const visit: Visit = {
    path: new URL(c.req.url).pathname,
    self,
    tenant,
    api: createApi(c.env.call, session.key, chosen),
    wide,
    now,
    csrf: session.csrf,
    newOnce: () => base32(randomSecret(16)),
    href: (path, query) => hrefOf(path, { ...query, tenant: chosen }),
    may: (...scopes) => isOfAll || scopes.some((scope) => self.scopes.includes(scope)),
  };
  c.set("visit", visit);
  return visit;
}

function hrefOf(path: string, query: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  return `/console${path}${search.size === 0 ? "" : `?${search.toString()}`}`;
}

/** The only tenant there is, or the page to choose one. */
async function tenantHref(c: Context<ConsoleEnv>, visit: Visit): Promise<string> {
  const { data } = await visit.wide.get(listOf(Tenant), "/tenants", { limit: 2 });
  const [only, ...more] = data;
  if (only === undefined || more.length > 0) return "/console/tenants";
  const url = new URL(c.req.url);
  url.searchParams.set("tenant", only.id);
  return `${url.pathname}${url.search}`;
}

function signInHref(c: Context<ConsoleEnv>): string {
  return hrefOf("/sign-in", { next: nextOf(c) });
}

/** Where somebody was going; a form cannot be gone to again. */
function nextOf(c: Context<ConsoleEnv>): string {
  const { pathname, search } = new URL(c.req.url);
  return c.req.method === "GET" && pathname !== "/console/sign-in" ? `${pathname}${search}` : "";
}

function askedOf(c: Context<ConsoleEnv>, visit: Visit): Asked {
  return {
    visit,
    param: (name) => c.req.param(name) ?? "",
    query: (name) => {
      const value = c.req.query(name)?.trim() ?? "";
      return value === "" ? null : value;
    },
  };
}

function formOf(fields: URLSearchParams): Form {
  return { text: (name) => fields.get(name)?.trim() ?? "", all: (name) => fields.getAll(name) };
}
