/** What can be checked without a running node: the home, the files in it, the settings. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorText } from '@claw/base';
import { type DoctorView, loadSettings } from '@claw/gateway';

type Check = DoctorView['checks'][number];

export async function diagnoseOffline(home: string, running: boolean): Promise<Check[]> {
  return [await checkHome(home), await checkSettings(home), checkRunning(running)];
}

async function checkHome(home: string): Promise<Check> {
  const name = 'home';
  const modes = await Promise.all(
    ['', 'node-key.json', 'peers.json', 'invites.json', 'claw.json'].map(async (file) => {
      const path = join(home, file);
      return stat(path).then(
        (found) => ({ path, open: (found.mode & 0o077) !== 0 }),
        (error: unknown) => ({ path, open: false, missing: errorCode(error) === 'ENOENT' }),
      );
    }),
  );
  if ('missing' in (modes[0] ?? {}))
    return { name, state: 'ok', detail: `${home} does not exist yet; "claw up" makes it` };
  const open = modes.filter((mode) => mode.open).map((mode) => mode.path);
  if (open.length === 0 || process.platform === 'win32') return { name, state: 'ok', detail: home };
  return {
    name,
    state: 'warn',
    detail: `other users can read ${open.join(', ')}`,
    fix: `chmod go-rwx ${open.join(' ')}`,
  };
}

async function checkSettings(home: string): Promise<Check> {
  const name = 'settings';
  try {
    const { warnings } = await loadSettings(home);
    if (warnings.length === 0) return { name, state: 'ok', detail: join(home, 'claw.json') };
    return { name, state: 'warn', detail: warnings.join('; ') };
  } catch (error) {
    return {
      name,
      state: 'fail',
      detail: errorText(error),
      fix: `Mend ${join(home, 'claw.json')}; the node never overwrites it.`,
    };
  }
}

function checkRunning(running: boolean): Check {
  if (running) return { name: 'node', state: 'ok', detail: 'it runs' };
  return { name: 'node', state: 'warn', detail: 'it does not run', fix: 'claw up' };
}
