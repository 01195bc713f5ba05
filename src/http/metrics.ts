/** Prometheus text exposition (format 0.0.4) of the trust counters: by them an operator sees promises break. */
import type { Gateway } from "../gate/gateway.ts";

type Figures = ReturnType<Gateway["trust"]>;

/** Reservations by state, as the database has them: of every replica. */
export type OpenReservations = { readonly open: number; readonly unknown: number };

export function metricsText(figures: Figures, reservations: OpenReservations): string {
  const { settledByBasis } = figures;
  return [
    gauge(
      "tollgate_reservations_open",
      "Reservations of attempts in flight, all replicas.",
      reservations.open,
    ),
    gauge(
      "tollgate_reservations_unknown",
      "Reservations whose attempt's outcome is unknown; their money stays held. All replicas.",
      reservations.unknown,
    ),
    counter(
      "tollgate_attempts_admitted_total",
      "Attempts admitted by this process.",
      figures.admitted,
    ),
    family(
      "tollgate_asks_refused_total",
      "Asks refused by this process.",
      "reason",
      figures.refused,
    ),
    counter(
      "tollgate_admission_unavailable_total",
      "Asks answered 503 because no decision could be recorded.",
      figures.unavailable,
    ),
    counter(
      "tollgate_attempts_unknown_total",
      "Attempts whose outcome turned unknown.",
      figures.unknown,
    ),
    family(
      "tollgate_settlements_total",
      "Settlements by basis of the cost.",
      "basis",
      settledByBasis,
    ),
    counter(
      "tollgate_usage_estimated_total",
      "Settlements whose usage the upstream did not tell.",
      settledByBasis["estimated"] ?? 0,
    ),
    counter(
      "tollgate_price_unknown_total",
      "Settlements without a known price: no cost, not a cost of 0.",
      settledByBasis["unpriced"] ?? 0,
    ),
    counter(
      "tollgate_overage_total",
      "Attempts that cost more than they had reserved: a bug.",
      figures.overages,
    ),
    gauge("tollgate_exchanges", "Answers under way in this process.", figures.exchanges),
    gauge(
      "tollgate_asks_waiting",
      "Asks waiting to be posted in this process.",
      figures.asksWaiting,
    ),
    gauge(
      "tollgate_settlements_waiting",
      "Settlements waiting to be written in this process.",
      figures.settlementsWaiting,
    ),
    "",
  ].join("\n");
}

function counter(name: string, help: string, value: number): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} counter\n${name} ${value}`;
}

function gauge(name: string, help: string, value: number): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${value}`;
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
