/**
 * Prometheus text exposition (format 0.0.4) of the trust counters: by them an operator sees promises break.
 * Counts are of all processes behind this address: a scrape meets any of them, and a counter may not fall.
 */
import type { Figures } from "./env.ts";

/** Reservations by state, as the database has them: of every replica. */
export type OpenReservations = { readonly open: number; readonly unknown: number };

/** What waits for people and for receivers of messages, as the database has it. */
export type Waiting = {
  readonly approvals: number;
  readonly deliveries: number;
  readonly deadDeliveries: number;
};

/** What is read from the database at a scrape. */
export type Stored = { readonly reservations: OpenReservations; readonly waiting: Waiting };

type Sample = {
  readonly kind: "counter" | "gauge";
  readonly name: string;
  readonly help: string;
  readonly read: (figures: Figures, stored: Stored) => number;
};

const SAMPLES: readonly Sample[] = [
  {
    kind: "gauge",
    name: "tollgate_reservations_open",
    help: "Reservations of attempts in flight, all replicas.",
    read: (_, { reservations }) => reservations.open,
  },
  {
    kind: "gauge",
    name: "tollgate_reservations_unknown",
    help: "Reservations with an unknown outcome, money held, all replicas.",
    read: (_, { reservations }) => reservations.unknown,
  },
  {
    kind: "gauge",
    name: "tollgate_approvals_pending",
    help: "Calls that wait for a person's approval.",
    read: (_, { waiting }) => waiting.approvals,
  },
  {
    kind: "gauge",
    name: "tollgate_deliveries_pending",
    help: "Messages to webhooks that are not delivered yet.",
    read: (_, { waiting }) => waiting.deliveries,
  },
  {
    kind: "gauge",
    name: "tollgate_deliveries_dead",
    help: "Messages to webhooks that no try delivered: npx tollgate webhooks dead.",
    read: (_, { waiting }) => waiting.deadDeliveries,
  },
  {
    kind: "counter",
    name: "tollgate_attempts_admitted_total",
    help: "Attempts admitted.",
    read: (figures) => figures.admitted,
  },
  {
    kind: "counter",
    name: "tollgate_admission_unavailable_total",
    help: "Asks answered 503: no decision could be recorded.",
    read: (figures) => figures.unavailable,
  },
  {
    kind: "counter",
    name: "tollgate_attempts_unknown_total",
    help: "Attempts whose outcome turned unknown.",
    read: (figures) => figures.unknown,
  },
  {
    kind: "counter",
    name: "tollgate_usage_estimated_total",
    help: "Settlements whose usage the upstream did not tell.",
    read: (figures) => figures.settledByBasis["estimated"] ?? 0,
  },
  {
    kind: "counter",
    name: "tollgate_price_unknown_total",
    help: "Settlements without a known price: no cost, not a cost of 0.",
    read: (figures) => figures.settledByBasis["unpriced"] ?? 0,
  },
  {
    kind: "counter",
    name: "tollgate_overage_total",
    help: "Attempts that were measured to cost more than they had reserved: a bug.",
    read: (figures) => figures.overages,
  },
  {
    kind: "gauge",
    name: "tollgate_exchanges",
    help: "Answers under way.",
    read: (figures) => figures.exchanges,
  },
  {
    kind: "gauge",
    name: "tollgate_asks_waiting",
    help: "Asks waiting to be posted.",
    read: (figures) => figures.asksWaiting,
  },
  {
    kind: "gauge",
    name: "tollgate_settlements_waiting",
    help: "Settlements waiting to be written.",
    read: (figures) => figures.settlementsWaiting,
  },
];

export function metricsText(figures: Figures, stored: Stored): string {
  return [
    ...SAMPLES.map(
      ({ kind, name, help, read }) =>
        `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${name} ${read(figures, stored)}`,
    ),
    family("tollgate_asks_refused_total", "Asks refused.", "reason", figures.refused),
    family("tollgate_settlements_total", "Settlements by basis.", "basis", figures.settledByBasis),
    "",
  ].join("\n");
}

function family(
  name: string,
  help: string,
  label: string,
  values: Readonly<Record<string, number>>,
): string {
  const rows = Object.entries(values).map(
    ([value, count]) => `${name}{${label}="${value}"} ${count}`,
  );
  return [`# HELP ${name} ${help}`, `# TYPE ${name} counter`, ...rows].join("\n");
}
