/** Other processes of this machine. */

import { errorCode } from './errors.ts';

/** Whether a process of that id exists. One of another user counts as alive. */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}
