/** What detectors found in the texts of a request: kinds and counts, never content. */
export type FindingGroup = "secrets" | "pii" | "injection";

export type Findings = {
  readonly secrets: number;
  readonly pii: number;
  readonly injection: number;
  readonly found: readonly {
    readonly kind: string;
    readonly group: FindingGroup;
    readonly count: number;
  }[];
  /** Whether all texts were searched. */
  readonly complete: boolean;
};

/** Kinds that there are, so that an expression over them is known to be short. */
export const DETECTOR_KINDS_MAX = 32;

/** What a kind that was found adds to the risk score, however often it was. */
export const DETECTOR_RISKS: Readonly<Record<FindingGroup, number>> = {
  secrets: 40,
  injection: 25,
  pii: 15,
};

/** Nothing is known of the texts: they could not be read, or nobody had them. */
export const NOT_SEARCHED: Findings = {
  secrets: 0,
  pii: 0,
  injection: 0,
  found: [],
  complete: false,
};
