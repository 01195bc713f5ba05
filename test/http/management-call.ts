import { expect } from "vitest";
import type { Json } from "../support/management.ts";
import { call } from "./http-call.ts";

export type ManagementCall = (
  key: string,
  method: string,
  path: string,
  body?: object,
) => Promise<Json>;

/** Calls the management API of a Tollgate that listens at `url`, and expects that it was done. */
export function managementAt(url: string): ManagementCall {
  return async (key, method, path, body) => {
    const { status, text } = await call(`${url}/api${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    expect([path, status, text]).toEqual([path, expect.toBeOneOf([200, 201]), text]);
    return JSON.parse(text);
  };
}
