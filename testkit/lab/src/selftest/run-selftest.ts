/** Is the lab what it says it is: its NATs and its links, each by a tool of somebody else; and does simnet agree with it. */

import { agreementRows } from './agreement.ts';
import { linkRows } from './links.ts';
import { natKindRows } from './nat-kinds.ts';
import type { SelftestRow } from './row.ts';

const SEED = 1;

/** Prints a line as soon as it is measured; true when all are as asked. Throws what a lab throws that does not open. */
export async function runSelftest(print: (line: string) => void): Promise<boolean> {
  const rows: SelftestRow[] = [];
  const take = (row: SelftestRow) => {
    rows.push(row);
    print(formatRow(row));
  };
  print('NAT: mapping, filtering, ports, routers on the way (turnutils_natdiscovery, ping)');
  for (const row of await natKindRows(SEED)) take(row);
  print('\nLinks (ping, iperf3, counted UDP packets)');
  for await (const row of linkRows(SEED)) take(row);
  print('\nSimnet (asked) and lab (measured), the reference peer: connected or not, round trip');
  await agreementRows(SEED, take);
  const off = rows.filter(({ verdict }) => verdict === 'off');
  print(`\n${rows.length - off.length} of ${rows.length} as asked`);
  return off.length === 0;
}

function formatRow({ what, asked, measured, verdict }: SelftestRow): string {
  return `${verdict.padEnd(3)}  ${what.padEnd(57)}  asked ${asked.padEnd(40)}  measured ${measured}`;
}
