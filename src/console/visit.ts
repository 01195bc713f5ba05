/** One person's look at one page: who it is, of which tenant, and what the pages are made with. */
import type { z } from "zod";

import type { SCOPES, Self } from "./answers.ts";
import type { Api, Call, Query } from "./api.ts";
import type { Markup } from "./figures.ts";

export type Scope = (typeof SCOPES)[number];

export type ConsoleEnv = {
  /** Of one request, as the app's own are: some runtimes share nothing between requests. */
  Bindings: {
    /** The public API. */
    readonly call: Call;
    /** Reads the body of the request, of so many bytes at most. */
    readonly form: (bytesMax: number) => Promise<FormRead>;
    /** Where the request comes from, to count keys that are none. */
    readonly address: string;
  };
  /** Once somebody has entered. */
  Variables: { visit?: Visit };
};

export type FormRead =
  | { readonly kind: "read"; readonly text: string }
  | { readonly kind: "refused"; readonly status: number; readonly message: string };

/** Whether a path, with or without its query, is the console's. */
export function isConsolePath(path: string): boolean {
  return /^\/console(?:[/?]|$)/.test(path);
}

export type Flash = {
  readonly text: string;
  /** Shown once, to be copied: a key, or a webhook's secret. */
  readonly secret: string | null;
};

export type Visit = {
  /** Of this page, without its query. */
  readonly path: string;
  readonly self: z.output<typeof Self>;
  /** Null: the installation's key, which has not chosen one. */
  readonly tenant: { readonly id: string; readonly name: string } | null;
  /** Of the tenant. */
  readonly api: Api;
  /** The same for what belongs to no tenant: prices, and the list of tenants. */
  readonly wide: Api;
  readonly now: Date;
  readonly csrf: string;
  readonly newOnce: () => string;
  /** A link within the console, below `/console`, of the same tenant. */
  readonly href: (path: string, query?: Query) => string;
  /** Whether the key has one of these scopes; the installation's key may everything but vote. */
  readonly may: (...scopes: readonly Scope[]) => boolean;
};

export type Page = { readonly title: string; readonly body: Markup };

export type Asked = {
  readonly visit: Visit;
  /** A part of the path, by its name. */
  readonly param: (name: string) => string;
  /** A member of the query; null where it is absent or empty. */
  readonly query: (name: string) => string | null;
};

export type Sent = Asked & { readonly form: Form };

export type Form = {
  /** A field without space at its ends; empty where it is absent. */
  readonly text: (name: string) => string;
  readonly all: (name: string) => readonly string[];
};

/** What became of a form. */
export type Outcome =
  | { readonly kind: "done"; readonly to: string; readonly text: string; readonly secret?: string }
  /** The page is shown again with what was filled in, and why it was not done. */
  | { readonly kind: "again"; readonly status: number; readonly page: Page };

export type Routes = {
  /** Paths are below `/console`: `/runs/:run`. */
  readonly page: (path: string, render: (asked: Asked) => Promise<Page>) => void;
  /** A file to keep, as the API wrote it. */
  readonly file: (path: string, take: (asked: Asked) => Promise<Response>) => void;
  readonly act: (path: string, run: (sent: Sent) => Promise<Outcome>) => void;
};

/** What a form begins with: what was sent before, or what its page says. */
export type Given = {
  readonly form: Form | null;
  /** Why it was not done, in the API's words. */
  readonly problem: string | null;
};

export const NOTHING_GIVEN: Given = { form: null, problem: null };
