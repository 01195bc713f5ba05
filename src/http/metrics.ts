/** Prometheus text exposition (format 0.0.4) of the trust counters: by them an operator sees promises break. */
import type { Gateway } from "../gate/gateway.ts";

type Figures = ReturnType<Gateway["trust"]>;

/** Reservations by state, as the database has them: of every replica. */
export type OpenReservations = { readonly open: number; readonly unknown: number };

export function metricsText(figures: Figures, reservations: OpenReservations): string {
  const { settledByBasis } = figures;
  const lines = [...single(figures, reservations).map(sample)];
  lines.push(
    family(
      "tollgate_asks_refused_total",
      "Asks refused by this process.",
      "reason",
      figures.refused,
    ),
    family(
      "tollgate_settlements_total",
      "Settlements by basis of the cost.",
      "basis",
      settledByBasis,
    ),
    "",
  );
  return lines.join("\n");
}

type Sample = readonly ["counter" | "gauge", string, string, number];

/** Kind, name, help, value. */
function single(figures: Figures, { open, unknown }: OpenReservations): readonly Sample[] {
  const { estimated = 0, unpriced = 0 } = figures.settledByBasis;
  return [
    [
      "gauge",
      "tollgate_reservations_open",
      "Reservations of attempts in flight, all replicas.",
      open,
    ],
    [
      "gauge",
      "tollgate_reservations_unknown",
      "Reservations with an unknown outcome, money held, all replicas.",
      unknown,
    ],
    [
      "counter",
      "tollgate_attempts_admitted_total",
      "Attempts admitted by this process.",
      figures.admitted,
    ],
    [
      "counter",
      "tollgate_admission_unavailable_total",
      "Asks answered 503: no decision could be recorded.",
      figures.unavailable,
    ],
    [
      "counter",
      "tollgate_attempts_unknown_total",
      "Attempts whose outcome turned unknown.",
      figures.unknown,
    ],
    [
      "counter",
      "tollgate_usage_estimated_total",
      "Settlements whose usage the upstream did not tell.",
      estimated,
    ],
    [
      "counter",
      "tollgate_price_unknown_total",
      "Settlements without a known price: no cost, not a cost of 0.",
      unpriced,
    ],
    [
      "counter",
      "tollgate_overage_total",
      "Attempts that cost more than they had reserved: a bug.",
      figures.overages,
    ],
    ["gauge", "tollgate_exchanges", "Answers under way in this process.", figures.exchanges],
    [
      "gauge",
      "tollgate_asks_waiting",
      "Asks waiting to be posted in this process.",
      figures.asksWaiting,
    ],
    [
      "gauge",
      "tollgate_settlements_waiting",
      "Settlements waiting to be written in this process.",
      figures.settlementsWaiting,
    ],
  ];
}

function sample([kind, name, help, value]: Sample): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${name} ${value}`;
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
