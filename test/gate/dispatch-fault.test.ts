/** What hears an answer throws: a fault of ours, after which the attempt still has its one ending. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { findRoute } from "../../src/dialects/openai/routes.ts";
import { createUndiciUpstream } from "../../src/entry/upstream-undici.ts";
import type { Dispatch } from "../../src/gate/dispatch.ts";
import { guardedUpstream } from "../../src/gate/guarded-upstream.ts";
import type { Reply, UpstreamPort } from "../../src/gate/ports.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { gateOn, newTenant, permitOf, type Gate } from "./gate-on.ts";

const USAGE = { input: 3, output: 2 };
const ANSWER: Script = { kind: "json", body: chatAnswer("m", "ok", USAGE) };
const STREAM: Script = { kind: "sse", frames: chatFrames("m", ["one ", "two"], USAGE) };
/** It goes on for as long as somebody reads. */
const ENDLESS: Script = { kind: "sse", frames: chatFrames("m", ["one "], USAGE), last: "stall" };

const CHAT = findRoute("POST", "/v1/chat/completions");

/** A client's connection of which one act fails. */
function replyFailing(at: "head" | "write" | "end") {
  const told: string[] = [];
  let isSpent = false;
  const act = (name: "head" | "write" | "end" | "destroy") => {
    if (name === at && !isSpent) {
      isSpent = true;
      throw new Error(`a fault at ${at}`);
    }
    told.push(name);
  };
  const reply: Reply = {
    head: () => act("head"),
    write: () => {
      act("write");
      return true;
    },
    end: () => act("end"),
    destroy: () => act("destroy"),
    onDrain: () => undefined,
    onGone: () => undefined,
    isGone: () => false,
  };
  return { reply, told };
}

describeOnPostgres("a fault of ours on an answer", (database) => {
  const told: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn() {},
    error: (_: object, text: string) => void told.push(text),
  };
  let scripted: ScriptedUpstream;
  let upstream: UpstreamPort;
  let gate: Gate;
  beforeAll(async () => {
    scripted = await startScriptedUpstream();
    upstream = guardedUpstream(createUndiciUpstream({ connections: 1 }), log);
    gate = await gateOn(database.db, { upstream });
  });
  afterAll(async () => {
    await gate.gateway.close();
    await upstream.close();
    await scripted.close();
  });

  const FAULTS = [
    ["at the head of a stream", STREAM, "head", []],
    ["on a part of a stream", STREAM, "write", ["head", "write", "end"]],
    ["on a part of a stream that never ends", ENDLESS, "write", ["head", "write", "end"]],
    ["at the end of a stream", STREAM, "end", ["head", "write", "write", "end"]],
  ] as const;
  test.each(FAULTS)("%s leaves it unknown, and ends its exchange", async (_, script, at, said) => {
    if (CHAT === null) throw new Error("no route");
    const permit = permitOf(await gate.admit(await newTenant(gate)));
    scripted.next(script);
    const { reply, told: replied } = replyFailing(at);
    const { origin } = new URL(scripted.url);
    const request: Dispatch = {
      permit: { ...permit, upstream: { ...permit.upstream, origin } },
      route: CHAT,
      method: "POST",
      path: "/v1/chat/completions",
      headers: [],
      body: () => new TextEncoder().encode("{}"),
      hideUsage: false,
      ours: { early: () => [], whole: () => [] },
      requestId: "r",
    };
    const { ending } = await gate.gateway.dispatch(request, reply);
    expect(ending).toMatchObject({ kind: "unknown", status: 200 });
    expect(replied).toEqual(said);
    expect(told.splice(0)).toEqual(["an answer could not be taken in"]);
    expect(gate.gateway.trust().exchanges).toBe(0);
    // The one connection to it is free for the next.
    scripted.next(ANSWER);
    const next = replyFailing("write");
    const after = await gate.gateway.dispatch(request, next.reply);
    expect([after.kind, after.ending.kind, next.told]).toEqual([
      "answered",
      "succeeded",
      ["head", "end"],
    ]);
  });
});
