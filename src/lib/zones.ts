/**
 * A formatter that reads an instant as the clock fields of a zone, or null when the platform knows no
 * such zone. The platform tells that by throwing alone: its list of names leaves the aliases out,
 * among them `Asia/Kolkata` and `US/Eastern`, so the one `catch` of this room stands here.
 */
export function zoneFormatter(timeZone: string): Intl.DateTimeFormat | null {
  try {
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
