/**
 * Whether the platform knows a time zone by this name. It tells so by throwing alone: its list of
 * names leaves the aliases out, among them `Asia/Kolkata` and `US/Eastern`.
 */
export function isPlatformZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone }).resolvedOptions().timeZone !== "";
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
