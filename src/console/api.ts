/**
 * The console's one way to anything: the public API, as any client of it. What is shown was answered to the
 * key of the session, so a page can show nothing that the key may not see.
 */
import { z } from "zod";

import { parseJson } from "../lib/json.ts";

export type Query = Readonly<Record<string, string | number | null | undefined>>;

/** What the API answered instead: shown to the person, in the API's own words. */
export class ApiRefused extends Error {
  override readonly name = "ApiRefused";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** An act that was refused is told on its form. */
export type Answered<Body> =
  | { readonly kind: "done"; readonly body: Body }
  | { readonly kind: "refused"; readonly status: number; readonly message: string };
export type Acted = Answered<unknown>;
type Done = Extract<Acted, { kind: "done" }>;

export type Act = {
  readonly method: "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Query;
  readonly body?: Readonly<Record<string, unknown>>;
  /** Of one form as it was shown: sent twice it acts once. */
  readonly once?: string;
};

export type Api = {
  /** Reads what the shape names of an answer. Throws ApiRefused for any answer that is not one. */
  readonly get: <S extends z.ZodType>(
    shape: S,
    path: string,
    query?: Query,
  ) => Promise<z.output<S>>;
  /** The same where a refusal is shown on its part of a page, beside what was answered. */
  readonly look: <S extends z.ZodType>(
    shape: S,
    path: string,
    query?: Query,
  ) => Promise<Answered<z.output<S>>>;
  /** The same of a question that is asked by POST. */
  readonly ask: <S extends z.ZodType>(
    shape: S,
    path: string,
    body: Readonly<Record<string, unknown>>,
  ) => Promise<Answered<z.output<S>>>;
  /** An answer that is a file: its bytes, what they are and what they are called, as the API says. */
  readonly file: (path: string, query: Query) => Promise<Response>;
  /** Throws ApiRefused only where the key itself is refused. */
  readonly act: (act: Act) => Promise<Acted>;
};

export type Call = (request: Request) => Response | Promise<Response>;

/** The address stands for none: the call never leaves the process. */
const ORIGIN = "http://tollgate.invalid";

/** `tenant` is named in every call, for a key that belongs to none. */
export function createApi(call: Call, key: string, tenant: string | null): Api {
  const tried = async (asked: Sent): Promise<Done | ApiRefused> => {
    const answer = await send(call, key, { ...asked, query: { ...asked.query, tenant } });
    return answer.isOk ? { kind: "done", body: answer.body } : refusedBy(answer);
  };
  const act = async (asked: Sent): Promise<Acted> => {
    const acted = await tried(asked);
    if (!(acted instanceof ApiRefused)) return acted;
    if (acted.status === 401) throw acted;
    return { kind: "refused", status: acted.status, message: acted.message };
  };
  const read = async <S extends z.ZodType>(
    shape: S,
    asked: Sent,
  ): Promise<Answered<z.output<S>>> => {
    const acted = await act(asked);
    return acted.kind === "refused" ? acted : { kind: "done", body: shape.parse(acted.body) };
  };
  return {
    get: async (shape, path, query = {}) => {
      const got = await tried({ method: "GET", path, query });
      if (got instanceof ApiRefused) throw got;
      return shape.parse(got.body);
    },
    file: async (path, query) => {
      const asked = { ...query, tenant };
      const answer = await request(call, key, { method: "GET", path, query: asked });
      if (!answer.ok) throw refusedBy(await answerOf(answer));
      return fileOf(answer);
    },
    look: (shape, path, query = {}) => read(shape, { method: "GET", path, query }),
    ask: (shape, path, body) => read(shape, { method: "POST", path, body }),
    act,
  };
}

/** Why the API does not know this key, or cannot say whether it does; null where it knows it. */
export async function flawOfKey(call: Call, key: string): Promise<ApiRefused | null> {
  const answer = await send(call, key, { method: "GET", path: "/me" });
  return answer.isOk ? null : refusedBy(answer);
}

type Sent = Omit<Act, "method"> & { readonly method: Act["method"] | "GET" };
type Answer = { readonly status: number; readonly isOk: boolean; readonly body: unknown };

async function send(call: Call, key: string, sent: Sent): Promise<Answer> {
  return await answerOf(await request(call, key, sent));
}

async function answerOf(answer: Response): Promise<Answer> {
  return { status: answer.status, isOk: answer.ok, body: parseJson(await answer.text())?.value };
}

/** Nothing else of an answer's head is passed on: it was said to the console, not to a browser. */
function fileOf(answer: Response): Response {
  const headers = new Headers();
  for (const name of ["content-type", "content-disposition"]) {
    const value = answer.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  return new Response(answer.body, { headers });
}

async function request(call: Call, key: string, sent: Sent): Promise<Response> {
  const { method, path, query = {}, body, once } = sent;
  const url = new URL(`${ORIGIN}/api${path}`);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
  }
  const headers = new Headers({ authorization: `Bearer ${key}`, "user-agent": "tollgate-console" });
  if (body !== undefined) headers.set("content-type", "application/json");
  if (once !== undefined && once !== "") headers.set("idempotency-key", once);
  const init = body === undefined ? {} : { body: JSON.stringify(body) };
  return await call(new Request(url, { method, headers, ...init }));
}

const Failure = z.object({
  error: z.object({ message: z.string(), code: z.string().nullable() }),
});

function refusedBy(answer: { readonly status: number; readonly body: unknown }): ApiRefused {
  const read = Failure.safeParse(answer.body);
  const { message, code } = read.success
    ? read.data.error
    : { message: `The API answered ${answer.status}.`, code: null };
  return new ApiRefused(answer.status, code ?? "", message);
}
