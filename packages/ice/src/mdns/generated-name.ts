/**
 * The names that browsers put in place of their addresses (draft-ietf-mmusic-mdns-ice-candidates §3.1.1): a UUID in
 * `.local`. No other name of a candidate is asked for, so that a peer cannot have us ask for the printer.
 */

/** Safari writes more than twelve digits at the end. */
const GENERATED = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12,39}\.local$/;

/** `name` in lower case. */
export function isGeneratedName(name: string): boolean {
  return GENERATED.test(name);
}
