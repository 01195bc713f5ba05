/**
 * Where a call belongs: its run, step and the rest. It travels by itself through everything that an
 * asynchronous function awaits, so that nothing in between need pass it on.
 */

export type Context = {
  readonly run?: string;
  readonly step?: string;
  readonly parentStep?: string;
  /** `type:key`, as `refund:order-123`. */
  readonly operation?: string;
  readonly customer?: string;
  readonly labels?: Readonly<Record<string, string>>;
};

export type Ambient = {
  readonly get: () => Context;
  readonly with: <Result>(context: Context, work: () => Result) => Result;
};

type Storage = {
  readonly getStore: () => Context | undefined;
  readonly run: <Result>(store: Context, work: () => Result) => Result;
};

/**
 * Kept by AsyncLocalStorage, which Node has and Workers with `nodejs_compat`. It is asked for at run time,
 * because an import of it would end a browser's bundle; there nothing travels by itself, and the
 * gate that `run` hands to its function carries the context instead.
 */
export function createAmbient(): Ambient {
  const storage = createStorage();
  if (storage === null) return { get: () => ({}), with: (_, work) => work() };
  return {
    get: () => storage.getStore() ?? {},
    with: (context, work) => storage.run(context, work),
  };
}

function createStorage(): Storage | null {
  // A browser has no `process`; an older runtime has one without the function.
  const runtime: { readonly process?: { readonly getBuiltinModule?: GetBuiltin } } = globalThis;
  const hooks = runtime.process?.getBuiltinModule?.("node:async_hooks");
  return hooks === undefined ? null : new hooks.AsyncLocalStorage<Context>();
}

type GetBuiltin = (
  name: "node:async_hooks",
) => { readonly AsyncLocalStorage: new <Value>() => StorageOf<Value> } | undefined;

type StorageOf<Value> = {
  readonly getStore: () => Value | undefined;
  readonly run: <Result>(store: Value, work: () => Result) => Result;
};

/** What is said here over what was said around it; labels are joined. */
export function within(outer: Context, inner: Context): Context {
  const labels = { ...outer.labels, ...inner.labels };
  const joined = { ...outer, ...inner };
  return Object.keys(labels).length === 0 ? joined : { ...joined, labels };
}

/** The headers by which the other doors are told (see the README's table). */
export function headersOf(context: Context): Record<string, string> {
  const headers: Record<string, string> = {};
  const put = (name: string, value: string | undefined) => {
    if (value === undefined) return;
    if (!/^[\x20-\x7e]{1,256}$/.test(value)) {
      throw new TypeError(
        `${name} is 1 to 256 visible ASCII characters, and this is not: ${value}`,
      );
    }
    headers[name] = value;
  };
  put("tollgate-run", context.run);
  put("tollgate-step", context.step);
  put("tollgate-parent-step", context.parentStep);
  put("tollgate-operation", context.operation);
  put("tollgate-customer", context.customer);
  const labels = Object.entries(context.labels ?? {});
  if (labels.length > 0) {
    put("tollgate-labels", labels.map(([name, value]) => `${name}=${value}`).join(", "));
  }
  return headers;
}
