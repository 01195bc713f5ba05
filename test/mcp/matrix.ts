/** What every client library must be able to do with every server, wherever its URL leads. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Agent, OpenAIProvider, Runner, setTracingDisabled } from "@openai/agents";
import { generateText, stepCountIs } from "ai";
import OpenAI from "openai";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { FilesServer } from "../support/mcp-servers.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import type { ScriptedMcp } from "../support/scripted-mcp.ts";
import type { ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL } from "../support/tollgate.ts";
import {
  agentsServer,
  aiClient,
  LIBRARIES,
  type Connected,
  type Endpoint,
  type Library,
  type Members,
} from "./libraries.ts";

export const SERVERS = ["everything", "files", "scripted"] as const;
export type ServerName = (typeof SERVERS)[number];

/** Where the clients are sent. Read inside tests only. */
export type Way = {
  readonly endpoint: (server: ServerName) => Endpoint;
  /** Of the wire of OpenAI. */
  readonly model: { readonly baseURL: string; readonly apiKey: string };
};

export type Behind = {
  readonly files: FilesServer;
  readonly scripted: ScriptedMcp;
  readonly upstream: ScriptedUpstream;
};

const USAGE = { input: 12, output: 7 };

/** A model that calls this tool with these arguments, and then says that it is done. */
export function letModelCall(upstream: ScriptedUpstream, tool: string, args: Members): void {
  const answer = chatAnswer(MODEL, "", USAGE);
  const call = {
    id: "call_1",
    type: "function",
    function: { name: tool, arguments: JSON.stringify(args) },
  };
  const message = { role: "assistant", content: null, tool_calls: [call] };
  const body = { ...answer, choices: [{ index: 0, message, finish_reason: "tool_calls" }] };
  upstream.next({ kind: "json", body }, { kind: "json", body: chatAnswer(MODEL, "done", USAGE) });
}

/** What the model was told last: the conversation of its latest call. */
function toldTo(upstream: ScriptedUpstream): string {
  return Buffer.from(upstream.journal.at(-1)?.body ?? []).toString();
}

export function describeClients(name: string, behind: () => Behind, way: () => Way): void {
  describe.each(LIBRARIES)(`$name, ${name},`, (library) => {
    const open: Connected[] = [];
    const connect = async (server: ServerName): Promise<Connected> => {
      const connected = await library.connect(way().endpoint(server));
      open.push(connected);
      return connected;
    };
    afterEach(async () => {
      for (const connected of open.splice(0)) await connected.close();
    });
    describeEverything(library, connect);
    describeFiles(connect, behind);
    describeCancellation(connect, behind);
  });
  describeAgents(name, behind, way);
}

type Connect = (server: ServerName) => Promise<Connected>;

const LONG = "trigger-long-running-operation";

function describeEverything(library: Library, connect: Connect): void {
  test("lists the tools of a server with sessions, and calls one", async () => {
    const client = await connect("everything");
    expect(await client.tools()).toEqual(expect.arrayContaining(["echo", "get-sum", LONG]));
    const sum = await client.call("get-sum", { a: 2, b: 40 });
    expect(sum).toMatchObject({ text: "The sum of 2 and 40 is 42.", isError: false });
  });

  test("reads a resource and gets a prompt", async () => {
    const client = await connect("everything");
    const text = await client.read("demo://resource/static/document/features.md");
    expect(text).toContain("# Everything Server");
    const prompt = await client.prompt?.("args-prompt", { city: "Oslo" });
    if (client.prompt !== null) expect(prompt).toBe("What's weather in Oslo?");
  });

  test("is told the progress of a long operation, and its end", async () => {
    const client = await connect("everything");
    const told: (readonly [number, number | undefined])[] = [];
    const ended = await client.call(
      LONG,
      { duration: 0.4, steps: 4 },
      library.tellsProgress ? { onProgress: (at, total) => told.push([at, total]) } : {},
    );
    expect(ended.text).toContain("Long running operation completed.");
    const all = [1, 2, 3, 4].map((at) => [at, 4]);
    expect(told).toEqual(library.tellsProgress ? all : []);
  });

  test("is told a mistake by the tool itself", async () => {
    const client = await connect("everything");
    const wrong = await client.call("get-sum", { a: "two", b: 40 });
    expect(wrong.isError).toBe(true);
    expect(wrong.text).toContain("Invalid arguments for tool get-sum");
  });
}

function describeFiles(connect: Connect, behind: () => Behind): void {
  test("lists the tools of a server without sessions, and writes and reads a file with them", async () => {
    const client = await connect("files");
    const { directory, read } = behind().files;
    expect(await client.tools()).toEqual(expect.arrayContaining(["read_text_file", "write_file"]));
    const content = `written ${Math.random()}`;
    const path = `${directory}/note.txt`;
    await client.call("write_file", { path, content });
    expect(await read("note.txt")).toBe(content);
    const text = await client.call("read_text_file", { path });
    expect(text).toMatchObject({ text: content, isError: false, structured: { content } });
  });

  test("is told what the server does not let it have", async () => {
    const client = await connect("files");
    const denied = await client.call("read_text_file", { path: "/etc/passwd" });
    expect(denied.isError).toBe(true);
    expect(denied.text).toContain("Access denied");
  });
}

function describeCancellation(connect: Connect, behind: () => Behind): void {
  test("can give up a call, of which its server is told, and can go on", async () => {
    const { scripted } = behind();
    const client = await connect("scripted");
    const before = scripted.calls().length;
    scripted.next({ kind: "hang" });
    const giving = new AbortController();
    const called = client.call("echo", { at: before }, { signal: giving.signal });
    await scripted.called(before + 1);
    giving.abort(new Error("given up"));
    await expect(called).rejects.toThrow();
    for (const call of scripted.calls().slice(before)) await scripted.givenUp(call);
    expect((await client.call("echo", { at: "after" })).text).toBe('{"at":"after"}');
  });
}

function describeAgents(name: string, behind: () => Behind, way: () => Way): void {
  describe(`an agent ${name}`, () => {
    beforeAll(() => setTracingDisabled(true));

    test("of OpenAI Agents lets its model call a tool, and its model is told the result", async () => {
      const { upstream } = behind();
      const server = agentsServer(way().endpoint("everything"));
      await server.connect();
      // The library tells its model of `get-sum` by a name that any model's wire allows.
      letModelCall(upstream, "get_sum", { a: 20, b: 22 });
      const openAIClient = new OpenAI({ ...way().model, maxRetries: 0 });
      const modelProvider = new OpenAIProvider({ openAIClient, useResponses: false });
      const agent = new Agent({ name: "adder", model: MODEL, mcpServers: [server] });
      try {
        const runner = new Runner({ modelProvider, tracingDisabled: true });
        expect((await runner.run(agent, "20 + 22?")).finalOutput).toBe("done");
      } finally {
        await server.close();
      }
      expect(toldTo(upstream)).toContain("The sum of 20 and 22 is 42.");
    });

    test("of the AI SDK does", async () => {
      const { upstream } = behind();
      const client = await aiClient(way().endpoint("everything"));
      letModelCall(upstream, "get-sum", { a: 20, b: 22 });
      const provider = createOpenAICompatible({ name: "test", ...way().model });
      try {
        const answer = await generateText({
          model: provider(MODEL),
          prompt: "20 + 22?",
          maxRetries: 0,
          tools: await client.tools(),
          stopWhen: stepCountIs(3),
        });
        expect(answer.text).toBe("done");
      } finally {
        await client.close();
      }
      expect(toldTo(upstream)).toContain("The sum of 20 and 22 is 42.");
    });
  });
}
