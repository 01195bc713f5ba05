import { request, type IncomingHttpHeaders } from "node:http";

/** When the client hangs up: before any header, after so many bytes, or once it has read `text`. */
export type Leave = "before_head" | { readonly atByte: number } | { readonly after: string };

export type Call = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array | null;
  /** Resolves when the client should leave, for `before_head`. */
  readonly leaveAfter?: Promise<unknown>;
  readonly leave?: Leave;
};

export type Called = {
  /** 0: no head came. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly bytes: Buffer;
  readonly text: string;
  /** `whole`: ended politely; `broken`: the connection was cut; `left`: by this client. */
  readonly end: "whole" | "broken" | "left";
};

/** One exchange on a connection of its own: every byte as it came, and how it ended. */
export function call(url: string, given: Call = {}): Promise<Called> {
  return new Promise((resolve, reject) => {
    const { method = "GET", headers = {}, body = null, leave } = given;
    const parts: Buffer[] = [];
    let head: { status: number; headers: IncomingHttpHeaders; rawHeaders: string[] } | null = null;
    let isOver = false;
    const finish = (end: Called["end"]) => {
      if (isOver) return;
      isOver = true;
      const bytes = Buffer.concat(parts);
      const known = head ?? { status: 0, headers: {}, rawHeaders: [] };
      resolve({ ...known, bytes, text: bytes.toString(), end });
    };
    const at = /^(http:\/\/[^/]+)(.*)$/u.exec(url);
    const length = body === null ? {} : { "content-length": Buffer.byteLength(body) };
    const sent = request(at?.[1] ?? url, {
      // As it stands: `URL` would resolve dots and escapes.
      path: at?.[2] === "" ? "/" : at?.[2],
      method,
      agent: false,
      headers: { ...length, ...headers },
    });
    const hangUp = () => {
      finish("left");
      sent.destroy();
    };
    sent.on("error", (error: NodeJS.ErrnoException) => {
      if (isOver) return;
      if (head === null && error.code === "ECONNREFUSED") reject(error);
      else finish("broken");
    });
    sent.on("response", (incoming) => {
      const { statusCode = 0, rawHeaders } = incoming;
      head = { status: statusCode, headers: incoming.headers, rawHeaders };
      incoming.on("error", () => finish("broken"));
      incoming.on("data", (part: Buffer) => {
        if (isOver) return;
        parts.push(part);
        if (leave === undefined || leave === "before_head") return;
        const read = Buffer.concat(parts);
        if ("atByte" in leave ? read.length >= leave.atByte : read.includes(leave.after)) hangUp();
      });
      incoming.on("end", () => finish(incoming.complete ? "whole" : "broken"));
    });
    if (leave === "before_head") void given.leaveAfter?.then(hangUp);
    sent.end(body ?? undefined);
  });
}

/** Looks again until it is so: for what happens behind an answer. Throws after ten seconds. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let looks = 0; looks < 500; looks += 1) {
    if (await condition()) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  throw new Error("it did not become so");
}
