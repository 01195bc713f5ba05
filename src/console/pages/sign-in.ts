/** Signing in with a key, and out. */
import type { Context, Hono } from "hono";
import { html } from "hono/html";

import { ApiRefused, flawOfKey } from "../api.ts";
import { readFields } from "../fields.ts";
import { KEY_CHARS_MAX } from "../limits.ts";
import { MARK, mistakePage, problemBox } from "../page.ts";
import { isFromHere, isOwnForm, type Sessions } from "../session.ts";
import { createSignInLimit } from "../sign-in-limit.ts";
import { isConsolePath, type ConsoleEnv, type Page } from "../visit.ts";

type Parts = {
  readonly sessions: Sessions;
  readonly show: (
    c: Context<ConsoleEnv>,
    page: Page,
    status?: number,
  ) => Response | Promise<Response>;
  readonly now: () => Date;
};

export function signInPage({ next, problem }: { next: string; problem: string | null }): Page {
  const body = html`<section class="sign-in">
    <p class="brand">${MARK}<span>Tollgate</span></p>
    <h1>Sign in</h1>
    <p class="lead">With an API key. What you see is what its scopes allow.</p>
    ${problemBox(problem)}
    <form method="post" action="/console/sign-in">
      <input type="hidden" name="next" value="${next}" />
      <label class="field"
        ><span>API key or administration key</span>
        <input
          name="key"
          type="password"
          required
          maxlength="${KEY_CHARS_MAX}"
          autocomplete="current-password"
          spellcheck="false"
          autocapitalize="none"
        />
      </label>
      <button type="submit" class="main">Sign in</button>
    </form>
    <details>
      <summary>Where is my key?</summary>
      <p>
        The first start prints one. The administration key stands in
        <code>.tollgate/admin-key</code>, or is what you set as <code>TOLLGATE_ADMIN_KEY</code>.
        Make one for a person with
        <code>npx tollgate keys create anna --scope report --scope approve</code>.
      </p>
    </details>
  </section>`;
  return { title: "Sign in", body };
}

export function signInRoutes(app: Hono<ConsoleEnv>, { sessions, show, now }: Parts): void {
  const limit = createSignInLimit();
  app.get("/console/sign-in", (c) =>
    show(c, signInPage({ next: ownPath(c.req.query("next") ?? ""), problem: null })),
  );
  app.post("/console/sign-in", async (c) => {
    if (!isFromHere(c)) return show(c, mistakePage(403, "Sign in on the page itself."), 403);
    const form = await readFields(c);
    const next = ownPath(form.get("next") ?? "");
    const refuse = (problem: string, status: number) =>
      show(c, signInPage({ next, problem }), status);
    const wait = limit.wait(c.env.address, now());
    if (wait !== null) {
      c.header("retry-after", String(Math.ceil(wait / 1_000)));
      return refuse("Too many keys that are none came from your address: wait a minute.", 429);
    }
    const key = (form.get("key") ?? "").trim();
    const problem = await problemOf(c, key);
    if (problem !== null) {
      // While the database is away, nobody knows whether it is one.
      if (problem.status === 401) limit.failed(c.env.address, now());
      return refuse(problem.message, problem.status);
    }
    sessions.begin(c, key);
    return c.redirect(next === "" ? "/console" : next, 303);
  });
  app.post("/console/sign-out", async (c) => {
    const session = sessions.read(c);
    const form = await readFields(c);
    if (session !== null && (!isFromHere(c) || !isOwnForm(session, form))) {
      return show(c, mistakePage(403, "This form was not sent from this console."), 403);
    }
    sessions.end(c);
    return c.redirect("/console/sign-in", 303);
  });
}

/** What is wrong with a key, or null where the API knows it. */
async function problemOf(c: Context<ConsoleEnv>, key: string): Promise<ApiRefused | null> {
  if (!/^[\x21-\x7e]+$/.test(key) || key.length > KEY_CHARS_MAX) {
    return new ApiRefused(401, "", "This is no key: it is one word of letters, digits and signs.");
  }
  return flawOfKey(c.env.call, key);
}

/** Only within the console, as browsers would read it: a link must not lead from here to somebody else. */
function ownPath(text: string): string {
  const url = URL.parse(text, ORIGIN);
  if (url === null || url.origin !== ORIGIN || !isConsolePath(url.pathname)) return "";
  return `${url.pathname}${url.search}`;
}

const ORIGIN = "http://tollgate.invalid";
