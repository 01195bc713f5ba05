import type { Price } from "./price.ts";

/** What makers call models that search or research on every call, asked or not. From their lists of November 2026. */
const SEARCHES = [
  "search-preview",
  "-search-api",
  "pro-search",
  "deep-research",
  "deep-search",
  "deepsearch",
  // Perplexity's older ones, and any model of OpenRouter's.
  "-online",
  ":online",
];

/** Groq's, which search and run code by themselves. */
const COMPOUND = "compound";

/** Perplexity's, which search on every call: for a price by the request where they are sold by their maker. */
const SONAR = "sonar";

/**
 * What a model does beside answering, by the name under which its upstream knows it, as `Demand.unbounded` names
 * it: what it reads then, and what each search costs, stands in no figure of a request. Null for nothing, and for a
 * machine that is paid by its time.
 */
export function doneBeside(model: string, price: Price | null): string | null {
  if (price !== null && price.hourly !== null) return null;
  const name = model.toLowerCase();
  const base = name.slice(name.lastIndexOf("/") + 1);
  if (base.includes("multi-agent")) return "hosted_tool:agents";
  if (base.startsWith(COMPOUND)) return "hosted_tool:compound";
  const isCounted = base.startsWith(SONAR) ? price?.rates.requests !== undefined : true;
  if (!isCounted || SEARCHES.some((word) => base.includes(word))) return "hosted_tool:web_search";
  return null;
}
