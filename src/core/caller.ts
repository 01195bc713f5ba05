export const SCOPES = ["invoke", "report", "approve", "admin"] as const;

/** What a key may do. `invoke` passes the doors; `report` reads; `approve` answers approvals; `admin` manages. */
export type Scope = (typeof SCOPES)[number];

/** Who asks, once identified. Nothing in a body or header can change it. */
export type Caller = {
  readonly tenantId: string;
  readonly keyId: string;
  readonly scopes: readonly Scope[];
  /** strict: what cannot be priced and bounded is refused. tolerant: it passes, recorded as unpriced. */
  readonly mode: "strict" | "tolerant";
};

/** The key of the installation: manages every tenant, and passes no door. */
export type Administrator = { readonly installation: true };
