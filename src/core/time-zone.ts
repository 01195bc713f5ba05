import { isPlatformZone } from "../lib/zones.ts";

/** The longest IANA name has 32 characters. */
const ZONE_LENGTH_MAX = 64;

/**
 * Whether both this program and PostgreSQL know a zone by this name and mean the same: `UTC` or an
 * `Area/Location`. A plain offset is refused, since PostgreSQL reads the sign of `+02:00` the other way.
 */
export function isTimeZone(name: string): boolean {
  if (name === "UTC") return true;
  if (name.length > ZONE_LENGTH_MAX || !/^[A-Za-z_]+(\/[A-Za-z0-9_+-]+)+$/.test(name)) return false;
  return isPlatformZone(name);
}
