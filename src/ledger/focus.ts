/**
 * Charges with the columns of the FinOps Open Cost and Usage Specification, FOCUS 1.2
 * (https://focus.finops.org/focus-specification/v1-2/), for tools that read bills of many kinds.
 *
 * It holds what the ledger knows. The provider's account, its list price, its invoice and what was agreed
 * with it are not known here: those columns are left out and not made up, so the file is no bill of the
 * provider's. Where no price was known the cost is empty. Columns of our own begin with `x_`, tags of our
 * own with `tollgate/`, as the specification asks.
 */
import { usdOf } from "../core/money.ts";
import type { FocusRow } from "../store/reports-focus.ts";

/** By column name, all texts; null is an empty cell. */
export type FocusCharge = Readonly<Record<FocusColumn, string | null>>;

export const FOCUS_COLUMNS = [
  "BilledCost",
  "BillingCurrency",
  "BillingPeriodEnd",
  "BillingPeriodStart",
  "ChargeCategory",
  "ChargeDescription",
  "ChargeFrequency",
  "ChargePeriodEnd",
  "ChargePeriodStart",
  "ConsumedQuantity",
  "ConsumedUnit",
  "EffectiveCost",
  "ProviderName",
  "ResourceId",
  "ResourceType",
  "ServiceCategory",
  "ServiceName",
  "ServiceSubcategory",
  "SkuId",
  "SkuPriceId",
  "SubAccountId",
  "SubAccountName",
  "Tags",
  "x_Attempts",
  "x_Basis",
  "x_Ending",
] as const;

export type FocusColumn = (typeof FOCUS_COLUMNS)[number];

const AI = { ServiceCategory: "AI and Machine Learning", ServiceSubcategory: "Generative AI" };
/** A tool may be anything: what it is for is its owner's to say. People's answers, and what is adjusted of no call, are no model's. */
const OTHER = { ServiceCategory: "Other", ServiceSubcategory: "Other (Other)" };

export function chargeOf(row: FocusRow): FocusCharge {
  const cost = row.basis === "unpriced" ? null : usdOf(row.cost);
  const isModel = row.tool === "";
  const resource = isModel ? row.model : row.tool;
  const hasTokens = row.tokens !== "0";
  const isAdjusted = row.basis === "adjustment";
  const of = `${row.operation} ${resource}`.trim();
  return {
    BilledCost: cost,
    BillingCurrency: "USD",
    BillingPeriodEnd: moment(row.monthEnd),
    BillingPeriodStart: moment(row.month),
    ChargeCategory: isAdjusted ? "Adjustment" : "Usage",
    ChargeDescription: isAdjusted
      ? `${of === "" ? "all" : of}: adjusted by an operator`
      : `${of}: ${row.ending}, cost ${row.basis}`,
    ChargeFrequency: isAdjusted ? "One-Time" : "Usage-Based",
    ChargePeriodEnd: moment(row.dayEnd),
    ChargePeriodStart: moment(row.day),
    ConsumedQuantity: isAdjusted ? null : hasTokens ? row.tokens : row.attempts,
    ConsumedUnit: isAdjusted ? null : hasTokens ? "Tokens" : "Requests",
    EffectiveCost: cost,
    ProviderName: row.upstream === "" ? null : row.upstream,
    ResourceId: resource === "" ? null : resource,
    ResourceType: resource === "" ? null : isModel ? "Model" : "Tool",
    ...(isModel && row.door === "model" ? AI : OTHER),
    ServiceName: row.operation === "" ? "adjustment" : row.operation,
    SkuId: row.priceVersion === "" ? null : `${row.upstream}/${resource}`,
    SkuPriceId: row.priceVersion === "" ? null : row.priceVersion,
    SubAccountId: row.tenantId,
    SubAccountName: row.tenantName,
    Tags: JSON.stringify({
      ...row.labels,
      ...(row.keyId === "" ? {} : { "tollgate/key": row.keyId }),
      ...(row.customer === "" ? {} : { "tollgate/customer": row.customer }),
      ...(row.workflow === "" ? {} : { "tollgate/workflow": row.workflow }),
    }),
    x_Attempts: row.attempts,
    x_Basis: row.basis,
    x_Ending: row.ending,
  };
}

/** To the second, as the specification writes times. */
function moment(at: Date): string {
  return `${at.toISOString().slice(0, 19)}Z`;
}
